"""Train a network: ``slam3r train NAME [key=value ...]``, or ``python scripts/train.py``.

Every knob is in ``configs/train.yaml``; a recipe is a file of ``configs/experiment``. ``debug=true`` runs any of them
for two steps on procedural data. Exit codes: 0 done, 2 a mistake in the configuration or the data, 75 stopped by
SIGTERM or SIGUSR1 with everything saved (start it again with ``resume=auto``).
"""

from common.command.launch import launch
from common.command.verbs import TRAIN

if __name__ == "__main__":
    launch(TRAIN)
