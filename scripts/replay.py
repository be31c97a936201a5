"""Replay a finished run: the map grows frame by frame, as a film, a rerun recording, or in a window.

    slam3r replay OUT -o replay.mp4 [rerun=replay.rrd] [picture=map.png] [window=true]    or python scripts/replay.py

Every knob is in ``configs/replay.yaml``. Films are drawn on the CPU, without a display.
"""

from common.command.launch import launch
from slam3r.command.verbs import REPLAY

if __name__ == "__main__":
    launch(REPLAY)
