"""Pictures to semantic Gaussians, and to films and pictures of them.

    uni3r render PHOTOS -o OUT [queries='[chair,floor]'] [key=value ...]        or python scripts/render.py

Every knob is in ``configs/render.yaml``; what is written, in ``uni3r/scene/outputs.py``.
"""

from common.command.launch import launch
from uni3r.command.verbs import RENDER

if __name__ == "__main__":
    launch(RENDER)
