"""Command ``evaluate``: scores of a model on a benchmark, or a comparison of two runs."""

from __future__ import annotations

import sys

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.console import Console
from rich.markdown import Markdown

from common.command.settings import EvaluateCommand
from common.device import choose_device
from common.evaluation.benchmark import build_benchmark
from common.evaluation.compare import METRICS, comparison_report
from common.evaluation.references import read_references
from common.evaluation.report import REPORT, markdown_table, write_report
from common.evaluation.runner import SceneResult, run_benchmark
from common.files import atomic_write, check_apart, check_writable
from common.paths import user_path
from common.profiling.report import machine
from common.progress import between_bars
from common.revision import code_revision


def tell(result: SceneResult, is_old: bool) -> None:
    """Print one line per scene."""
    state = "kept" if is_old else f"{result.seconds:.0f} s" if result.row is not None else f"failed: {result.reason}"
    with between_bars():
        print(f"{result.scene}: {state}", flush=True)


def show(text: str) -> None:
    """Print Markdown, rendered on a terminal and plain elsewhere."""
    console = Console()
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)


def evaluate(chosen: EvaluateCommand) -> None:
    """Run every scene without a result, gather the results, print the table."""
    output = user_path(chosen.output)
    path = chosen.benchmark.get("path")
    check_apart(output, chosen.compare or ([path] if isinstance(path, str) else []))
    check_writable(output, ("compare.md",) if chosen.compare else (METRICS, REPORT))
    if chosen.compare:
        text = comparison_report(*chosen.compare)
        with atomic_write(output / "compare.md", "w") as file:
            file.write(text)
        return show(text)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    benchmark = build_benchmark(vars(chosen))
    results = run_benchmark(benchmark, output, chosen.resume, tell)
    facts = {"model": chosen.model["name"], "machine": machine(choose_device(chosen.device))}
    facts["revision"] = code_revision()
    rows = write_report(output, benchmark.name, benchmark.notes, read_references(benchmark.name), facts)
    show("\n".join(markdown_table(rows)) if rows else "no scene succeeded")
    print(f"written: {output / REPORT}")
    failed = any(result.row is None for result in results)
    if failed and HydraConfig.get().mode != RunMode.MULTIRUN:  # a launcher would drop the other jobs
        sys.exit(1)
