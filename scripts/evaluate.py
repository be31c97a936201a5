"""Score a model on a benchmark.

    python scripts/evaluate.py benchmark=rooms model=slam3r_tiny output=OUT [key=value ...]

Every knob is in ``configs/evaluate.yaml``. Writes ``metrics.json`` after every scene.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

import slam3r
from common.checkpoints.atomic import write_json
from common.configuration import to_dataclass
from common.device import choose_device, choose_dtype
from common.launch import clear_errors, launch
from slam3r.pretrained import ModelConfig, load_model
from slam3r.rooms_benchmark import RoomsBenchmark, run_room


@dataclass(frozen=True)
class Configuration:
    """``configs/evaluate.yaml``."""

    model: ModelConfig
    reconstruction: slam3r.ReconstructionSettings
    benchmark: RoomsBenchmark
    output: str
    threads: int | None
    device: str
    dtype: str


def show(rows: list[dict], title: str) -> None:
    """A table with a column per measure and the mean in the last row."""
    mean: dict = {"scene": "mean"}
    for key in list(rows[0])[1:]:
        known = [row[key] for row in rows if row[key] is not None]
        mean[key] = statistics.fmean(known) if known else None
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key.replace("_", "\n"), justify="right")
    for row in [*rows, mean]:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
@clear_errors
def main(config: DictConfig) -> None:
    """Run every scene, keep its row, print the table."""
    chosen = to_dataclass(config, Configuration)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = choose_device(chosen.device)
    networks = load_model(chosen.model).networks(device, choose_dtype(device, chosen.dtype))
    output = Path(chosen.output)
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    for name, views in chosen.benchmark.videos():
        row = run_room(name, views, networks, chosen.reconstruction, chosen.benchmark).row()
        rows.append(row)
        write_json(output / "metrics.json", {"model": chosen.model.name, "benchmark": "rooms", "scenes": rows})
        print(f"{name}: accuracy {row['accuracy']:.3f} m, completeness {row['completeness']:.3f} m", flush=True)
    show(rows, f"{chosen.model.name} on {len(rows)} rooms")


if __name__ == "__main__":
    launch(main)
