"""Score a model on a benchmark, or compare two runs.

    slam3r evaluate replica benchmark.path=DIR --model slam3r_large -o OUT        or python scripts/evaluate.py
    slam3r evaluate compare=[OUT_A,OUT_B]

Every knob is in ``configs/evaluate.yaml``, every benchmark in ``configs/benchmark``. Writes ``metrics.json``,
``report.md`` and pictures; started again, it goes on where it was.
"""

from common.command.launch import launch
from common.command.verbs import EVALUATE

if __name__ == "__main__":
    launch(EVALUATE)
