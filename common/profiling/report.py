"""Rows of a speed benchmark, as a table and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from common.device import processor_flags


@dataclass
class SpeedRow:
    """One measured stage."""

    size: str
    """Size of the model; empty for the machine itself."""
    dtype: str
    stage: str
    seconds: float | None = None
    flops: int | None = None
    """Floating point operations of the matrix products (see `common.profiling.flops`)."""
    share_of_peak: float | None = None
    """Achieved share of the peak of matrix products in this dtype, measured in turn with it: the median."""
    frames_per_second: float | None = None
    peak_memory: int | None = None
    """Bytes."""
    published_seconds: float | None = None
    """The published code, for orientation; another machine of the same kind."""
    details: dict[str, Any] = field(default_factory=dict)


def machine(device: torch.device) -> dict[str, Any]:
    """Description of the machine."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "threads": torch.get_num_threads(),
        "instructions": sorted(processor_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16"}),
        "system": platform.platform(),
        "torch": torch.__version__,
    }


def to_json(rows: Sequence[SpeedRow], description: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    return {"machine": description, "rows": [asdict(row) for row in rows]}


def to_table(rows: Sequence[SpeedRow], title: str) -> Table:
    """For the terminal."""
    table = Table(title=title)
    for name in ("size", "dtype", "stage"):
        table.add_column(name)
    for name in ("time", "GFLOP/s", "of peak", "frames/s", "peak memory", "published, float32", "notes"):
        table.add_column(name, justify="left" if name == "notes" else "right")
    previous: tuple[str, str] | None = None
    for row in rows:
        if previous not in (None, (row.size, row.dtype)):
            table.add_section()
        previous = row.size, row.dtype
        table.add_row(*_cells(row))
    return table


def _cells(row: SpeedRow) -> list[str]:
    rate = row.details.get("flops_per_second")
    if rate is None and row.flops and row.seconds:
        rate = row.flops / row.seconds
    notes = row.details.get("note", "")
    return [
        row.size,
        row.dtype,
        row.stage,
        _time(row.seconds),
        "" if rate is None else f"{rate / 1e9:.0f}",
        "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
        "" if row.frames_per_second is None else f"{row.frames_per_second:.3g}",
        "" if row.peak_memory is None else f"{row.peak_memory / 2**30:.2f} GiB",
        _time(row.published_seconds),
        str(notes),
    ]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
