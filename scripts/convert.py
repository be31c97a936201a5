"""Published weights to our format: ``uni3r convert DIR/2views.pth -o checkpoints/uni3r_large``.

Reads split files, reads pickles without running anything in them, and drops what the network never uses (teacher,
tracking head, optimizer, ..). Options are in ``configs/convert.yaml``.
"""

from common.command.launch import launch
from uni3r.command.verbs import CONVERT

if __name__ == "__main__":
    launch(CONVERT)
