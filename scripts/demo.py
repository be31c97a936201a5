"""The main job on the shipped weights: film a room that no training saw, reconstruct it, compare it with the truth.

    bash scripts/demo.sh [FOLDER OR VIDEO] [key=value ...]

With a folder it reconstructs that instead, and there is no truth to compare with.
"""

from common.command.launch import launch
from slam3r.command.verbs import DEMO

if __name__ == "__main__":
    launch(DEMO)
