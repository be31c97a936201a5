"""Speed on this machine: ``python scripts/profile_speed.py [sizes=[tiny]] [stages=[peak,encode]] [device=cuda]``.

Peak of matrix products first, then every stage as time, achieved share of that peak, and peak memory, in one run.
Options are in ``configs/profile.yaml``; what is measured, in ``slam3r/profiling/stages.py``,
``slam3r/profiling/scoring.py``, ``uni3r/profiling/rasterizer.py`` and ``slam3r/profiling/service.py``.
"""

from __future__ import annotations

from itertools import chain

import hydra
import torch
from omegaconf import DictConfig
from rich.console import Console

from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass
from common.files import write_json
from common.profiling.report import Row, machine, to_json, to_table
from slam3r.profiling.scoring import scoring_rows
from slam3r.profiling.suite import SpeedRun
from uni3r.profiling.rasterizer import benchmark_rows


@hydra.main(version_base="1.3", config_path="../configs", config_name="profile")
@clear_errors
def main(config: DictConfig) -> None:
    """Run what is asked for; the file grows with every row, so an interrupted run keeps what it has."""
    run = to_dataclass(config, SpeedRun)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(0)  # of the random weights
    console, rows = Console(), list[Row]()
    if not console.is_terminal:  # a file, which has no width of its own
        console = Console(width=170)
    description = machine(run.torch_device)
    rendering = benchmark_rows(run.torch_device, run.workload.repeats, run.quick) if "rasterizer" in run.stages else ()
    serving = run.service_rows() if "service" in run.stages else ()
    scoring = scoring_rows(run.quick) if "scoring" in run.stages else ()
    for row in chain(run.rows(), rendering, serving, scoring):
        rows.append(row)
        note = row.details.get("note", "")
        seconds = "" if row.seconds is None else f"{row.seconds:.4g} s"
        console.print(f"{row.size} {row.dtype} {row.stage}: {seconds} {note}", highlight=False)
        write_json(run.output, to_json(rows, description))
    console.print(to_table(rows, f"{description['device']}, {description['threads']} threads"))
    console.print(f"written: {run.output}", highlight=False)


if __name__ == "__main__":
    launch(main)
