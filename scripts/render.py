"""Pictures to semantic Gaussians, and to films and pictures of them.

    python scripts/render.py source=folder source.path=DIR output=OUT [model=uni3r_tiny] [queries='[chair,floor]']

Every knob is in ``configs/render.yaml``; what is written, in ``uni3r/scene/outputs.py``.
"""

from common.command.launch import launch
from uni3r.command.verbs import RENDER

if __name__ == "__main__":
    launch(RENDER)
