"""Images or a video to a coloured point cloud with camera poses.

    python scripts/reconstruct.py source=folder source.path=DIR output=OUT [model=slam3r_large] [key=value ...]

    python scripts/reconstruct.py source=camera live=true output=OUT

Every knob is in ``configs/reconstruct.yaml``; what is written, in ``slam3r/scene/outputs.py``.
"""

from common.command.launch import launch
from slam3r.command.verbs import RECONSTRUCT

if __name__ == "__main__":
    launch(RECONSTRUCT)
