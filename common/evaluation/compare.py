"""Comparison of two runs of one benchmark: differences per scene, and the confidence interval of their mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from common.evaluation.benchmark import Row
from common.evaluation.bootstrap import Interval, bootstrap_mean
from common.evaluation.columns import column, columns_of
from common.files import read_json
from common.paths import user_path

METRICS = "metrics.json"
FEWEST_SCENES = 6
"""Fewest scenes for a verdict: by chance, five differences have one sign in 1 of 16 cases, six in 1 of 32."""


@dataclass(frozen=True)
class Difference:
    """Second run minus first, of one figure."""

    key: str
    scenes: dict[str, float]
    """Differences by scene, in the stored unit."""
    interval: Interval
    """95 % confidence interval of the mean over scenes."""

    @property
    def verdict(self) -> str:
        """Verdict in a word: better, worse, or undecided."""
        better = column(self.key).better
        if better is None or not self.interval.excludes_zero or len(self.scenes) < FEWEST_SCENES:
            return "–"
        return "better" if (self.interval.mean < 0) == (better == "lower") else "worse"


def read_metrics(run: str | Path) -> dict[str, Any]:
    """The ``metrics.json`` of a run, given as its folder or as the file.

    Raises:
        ConfigurationError: it is not there, or not of this kind.
    """
    path = user_path(run)
    path = path / METRICS if path.is_dir() else path
    try:
        content = read_json(path)
        names = [row["scene"] for row in content["scenes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is not the {METRICS} of an evaluation: {error}") from None
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{path} has a scene twice")
    return content


def compare_rows(first: list[Row], second: list[Row]) -> list[Difference]:
    """Differences of every figure that both runs have, over the scenes that both have."""
    left, right = ({str(row["scene"]): row for row in rows} for rows in (first, second))
    shared = [name for name in left if name in right]
    differences = []
    for key in columns_of([left[name] for name in shared]):
        values = {}
        for name in shared:
            a, b = left[name].get(key), right[name].get(key)
            if isinstance(a, (int, float)) and isinstance(b, (int, float)):
                values[name] = float(b) - float(a)
        if values:
            differences.append(Difference(key, values, bootstrap_mean(list(values.values()))))
    return differences


def comparison_report(first: str | Path, second: str | Path) -> str:
    """Markdown with a line per figure and a column per scene.

    Raises:
        ConfigurationError: a run is missing, they are of two benchmarks, or share no scene.
    """
    a, b = read_metrics(first), read_metrics(second)
    if a.get("benchmark") != b.get("benchmark"):
        raise ConfigurationError(
            f"compare: {first} is of benchmark {a.get('benchmark')}, {second} of {b.get('benchmark')}"
        )
    differences = compare_rows(a["scenes"], b["scenes"])
    if not differences:
        raise ConfigurationError(f"compare: {first} and {second} have no scene with figures in common")
    names = list(dict.fromkeys(name for difference in differences for name in difference.scenes))
    lines = [
        f"# {a['benchmark']}: {second} minus {first}",
        "",
        "95 % intervals of the mean by bootstrap over scenes (10,000 resamples).",
        "",
        _line(["figure", *names, "mean", "interval", "verdict"]),
        _line(["---"] + ["---:"] * (len(names) + 2) + ["---"]),
    ]
    for difference in differences:
        unit = column(difference.key)
        cells = [_signed(difference.scenes.get(name), unit.factor, unit.digits) for name in names]
        mean, low, high = (
            _signed(value, unit.factor, unit.digits)
            for value in (difference.interval.mean, difference.interval.low, difference.interval.high)
        )
        lines.append(_line([unit.heading, *cells, mean, f"{low} to {high}", difference.verdict]))
    if len(names) < FEWEST_SCENES:
        lines += ["", f"No verdict with fewer than {FEWEST_SCENES} scenes in common: their intervals are too narrow."]
    lines += ["", *_absent(a, b, first, second)]
    return "\n".join(lines).rstrip() + "\n"


def _absent(a: dict[str, Any], b: dict[str, Any], first: str | Path, second: str | Path) -> list[str]:
    left, right = ({row["scene"] for row in content["scenes"]} for content in (a, b))
    found = [f"Only in {first}: {', '.join(sorted(left - right))}."] if left - right else []
    return found + ([f"Only in {second}: {', '.join(sorted(right - left))}."] if right - left else [])


def _signed(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None else f"{value * factor:+.{digits}f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
