"""Speed on this machine: time, achieved share of the peak, and peak memory of every stage, in one run."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from hydra.utils import get_method
from rich.console import Console

from common.files import check_file_writable, write_json
from common.profiling.report import SpeedRow, machine, to_json, to_table
from slam3r.profiling.scoring import scoring_rows
from slam3r.profiling.settings import ProfileSettings
from slam3r.profiling.suite import SpeedRun


def profile(settings: ProfileSettings) -> None:
    """Run the chosen stages; the file is written after every row, so an interrupted run keeps its rows."""
    check_file_writable(settings.output)
    run = SpeedRun(**vars(settings))
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(0)  # for the random weights
    console, rows = Console(), list[SpeedRow]()
    if not console.is_terminal:  # a file, which has no width of its own
        console = Console(width=170)
    description = machine(run.torch_device)
    serving = run.service_rows() if "service" in run.stages else ()
    scoring = scoring_rows(run.quick) if "scoring" in run.stages else ()
    for row in chain(run.rows(), _elsewhere(run), serving, scoring):
        rows.append(row)
        note = row.details.get("note", "")
        seconds = "" if row.seconds is None else f"{row.seconds:.4g} s"
        console.print(f"{row.size} {row.dtype} {row.stage}: {seconds} {note}", highlight=False)
        write_json(run.output, to_json(rows, description))
    console.print(to_table(rows, f"{description['device']}, {description['threads']} threads"))
    console.print(f"written: {run.output}", highlight=False)


def _elsewhere(run: SpeedRun) -> Iterable[SpeedRow]:
    """Rows of the stages that other packages measure."""
    for stage, function in run.elsewhere.items():
        if stage in run.stages:
            yield from get_method(function)(run.torch_device, run.workload.repeats, run.quick)
