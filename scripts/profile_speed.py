"""Speed on this machine: ``slam3r profile [sizes=[tiny]] [stages=[peak,encode]] [device=cuda]``.

Peak of matrix products first, then every stage as time, achieved share of that peak, and peak memory, in one run.
Options are in ``configs/profile.yaml``; what is measured, in ``slam3r/profiling/stages.py``,
``slam3r/profiling/scoring.py``, ``uni3r/profiling/rasterizer.py`` and ``slam3r/profiling/service.py``.
"""

from common.command.launch import launch
from slam3r.command.verbs import PROFILE

if __name__ == "__main__":
    launch(PROFILE)
