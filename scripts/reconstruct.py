"""Images or a video to a coloured point cloud with camera poses.

    slam3r reconstruct PHOTOS -o OUT [--model slam3r_large] [key=value ...]        or python scripts/reconstruct.py
    slam3r live camera:0 -o OUT                                                    with live=true

Every knob is in ``configs/reconstruct.yaml``; what is written, in ``slam3r/scene/outputs.py``.
"""

from common.command.launch import launch
from slam3r.command.verbs import RECONSTRUCT

if __name__ == "__main__":
    launch(RECONSTRUCT)
