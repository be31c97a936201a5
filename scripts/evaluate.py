"""Score a model on a benchmark: ``python scripts/evaluate.py benchmark=rooms model=slam3r_tiny output=results/rooms``."""

from __future__ import annotations

import statistics
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from common.checkpoints.atomic import write_json
from slam3r.rooms_benchmark import run_room


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Run every scene, print a table, and write ``metrics.json``."""
    from slam3r.api import load_networks, resolve_settings

    console = Console()
    benchmark = instantiate(config.benchmark)
    networks = load_networks(config.model, config.device, config.dtype)
    settings = resolve_settings(config.model, config.reconstruction)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, views in benchmark.videos():
        rows.append(run_room(name, views, networks, settings, benchmark).row())
        write_json(output / "metrics.json", {"benchmark": "rooms", "scenes": rows})
        console.print(f"{name}: accuracy {rows[-1]['accuracy']:.3f} m, completeness {rows[-1]['completeness']:.3f} m")
    numbers = [key for key, value in rows[0].items() if isinstance(value, (int, float))]
    mean = {key: statistics.fmean(row[key] for row in rows) for key in numbers}
    write_json(output / "metrics.json", {"benchmark": "rooms", "scenes": rows, "mean": mean})
    table = Table(title=f"{config.model.name} on {len(rows)} rooms")
    for key in rows[0]:
        table.add_column(key.replace("_", " "), justify="right")
    for row in [*rows, {"scene": "mean", **mean}]:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
