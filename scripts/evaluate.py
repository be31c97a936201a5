"""Score a model on a benchmark, or compare two runs.

    python scripts/evaluate.py benchmark=replica benchmark.path=DIR model=slam3r_large output=OUT [key=value ...]
    python scripts/evaluate.py compare=[OUT_A,OUT_B]

Every knob is in ``configs/evaluate.yaml``, every benchmark in ``configs/benchmark``. Writes ``metrics.json``,
``report.md`` and pictures; started again, it goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass
from common.device import choose_device
from common.evaluation.benchmark import build_benchmark
from common.evaluation.compare import comparison_report
from common.evaluation.references import read_references
from common.evaluation.report import REPORT, markdown_table, write_report
from common.evaluation.runner import SceneResult, run_benchmark
from common.files import atomic_write
from common.profiling.report import machine
from common.revision import code_revision


def tell(result: SceneResult, is_old: bool) -> None:
    """A line per scene."""
    state = "kept" if is_old else f"{result.seconds:.0f} s" if result.row is not None else f"failed: {result.reason}"
    print(f"{result.scene}: {state}", flush=True)


def show(text: str) -> None:
    """Markdown as a table on a terminal, as it is elsewhere."""
    console = Console()
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
@clear_errors
def main(config: DictConfig) -> None:
    """Run every scene that has no result yet, gather the results, print the table."""
    plain: dict[str, Any] = to_dataclass(config, dict[str, Any])
    output = Path(plain["output"]).expanduser()
    if plain["compare"]:
        first, second = to_dataclass(plain["compare"], tuple[str, str])
        text = comparison_report(first, second)
        with atomic_write(output / "compare.md", "w") as file:
            file.write(text)
        return show(text)
    if plain["threads"]:
        torch.set_num_threads(plain["threads"])
    benchmark = build_benchmark(plain)
    results = run_benchmark(benchmark, output, plain["resume"], tell)
    facts = {"model": plain["model"]["name"], "machine": machine(choose_device(plain["device"]))}
    facts["revision"] = code_revision()
    rows = write_report(output, benchmark.name, benchmark.notes, read_references(benchmark.name), facts)
    show("\n".join(markdown_table(rows)) if rows else "no scene succeeded")
    print(f"written: {output / REPORT}")
    failed = any(result.row is None for result in results)
    if failed and HydraConfig.get().mode != RunMode.MULTIRUN:  # a launcher would drop the other jobs
        sys.exit(1)


if __name__ == "__main__":
    launch(main)
