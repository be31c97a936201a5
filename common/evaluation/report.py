"""Report of an evaluation: ``metrics.json``, and ``report.md`` with tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.evaluation.benchmark import SCENE_FOLDER, VARIANT, Row
from common.evaluation.columns import (
    bad_tail_row,
    by_variant,
    column,
    columns_of,
    grouped,
    mean_row,
    mean_rows,
    median_row,
)
from common.evaluation.compare import METRICS
from common.evaluation.references import Reference
from common.evaluation.runner import SceneResult, read_results
from common.files import atomic_write, write_json

REPORT = "report.md"
_WIDEST = 12  # columns of one table
_OWN_NOTES = ("90 % of scenes: what nine of ten scenes reach, the 90th percentile, or the 10th where higher is better",)
_SUMMARIES: tuple[tuple[str, Callable[[list[Row]], Row], int], ...] = (
    ("mean", mean_row, 2),
    ("median", median_row, 3),
    ("90 % of scenes", bad_tail_row, 3),
)
"""Rows below those of the scenes: title, summary, and the number of scenes from which on there is one."""


def write_report(
    output: Path,
    benchmark: str,
    notes: Sequence[str] = (),
    references: Sequence[Reference] = (),
    facts: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Gather all results in a folder, including those of other processes, and write the report.

    Args:
        output: folder of the results.
        benchmark: its name.
        notes: how the figures are defined.
        references: published figures to print beside ours.
        facts: about the run: machine, model, revision; JSON values.

    Returns:
        Rows of the scenes that succeeded, each with its ``scene``.
    """
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / ".report.lock"):  # the last writer has seen the results of all
        results = read_results(output)
        rows: list[Row] = [{"scene": result.scene, **result.row} for result in results if result.row is not None]
        failed = [{"scene": result.scene, "reason": result.reason} for result in results if result.row is None]
        content = {
            "benchmark": benchmark,
            **(facts or {}),
            "settings": results[0].description if results else {},
            "scenes": rows,
            "mean": _over_scenes(rows, mean_row),
            "median": _over_scenes(rows, median_row),
            "bad_tail": _over_scenes(rows, bad_tail_row),
            "failed": failed,
        }
        write_json(output / METRICS, content)
        text = report_text(output, benchmark, results, notes, references, facts or {})
        with atomic_write(output / REPORT, "w") as file:
            file.write(text)
    return rows


def report_text(
    output: Path,
    benchmark: str,
    results: Sequence[SceneResult],
    notes: Sequence[str],
    references: Sequence[Reference],
    facts: Mapping[str, Any],
) -> str:
    """The report as Markdown; pictures are linked relative to `output`."""
    rows: list[Row] = [{"scene": result.scene, **result.row} for result in results if result.row is not None]
    lines = [f"# {benchmark}", ""]
    lines += [f"- {key}: {_flat(value)}" for key, value in facts.items()]
    lines += ["", *(markdown_table(rows) if rows else ["No scene succeeded."])]
    failed = [result for result in results if result.row is None]
    if failed:
        lines += ["", "## Failed", "", *(f"- {result.scene}: {result.reason}" for result in failed)]
    if references:
        lines += ["", "## Beside published figures", "", *reference_table(rows, references)]
    if notes:
        lines += ["", "## Definitions", "", *(f"- {note}" for note in (*notes, *_OWN_NOTES))]
    pictures = [_pictures(output, result.scene) for result in results]
    if any(pictures):
        lines += ["", "## Pictures", "", *(line for block in pictures for line in block)]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a table: a row per scene, then the mean and, of three scenes or more, the median and what nine of ten
    scenes reach. If it were too wide: of a table for each kind of figure."""
    keys = columns_of(rows)
    if len(keys) <= _WIDEST:
        return _table(rows, keys)
    tables = ([f"**{name}**", "", *_table(rows, own), ""] for name, own in grouped(keys).items())
    return [line for table in tables for line in table][:-1]


def _table(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    body = [*rows]
    groups = by_variant(list(rows))
    for title, summarize, least in _SUMMARIES:
        if len(rows) >= least * len(groups):
            body += [{"scene": f"**{title}** {name}".rstrip(), **summarize(own)} for name, own in groups.items()]
    return [
        _line(["scene", *(column(key).heading for key in keys)]),
        _line(["---", *("---:" for _ in keys)]),
        *(_line([str(row["scene"]), *(_cell(row, key) for key in keys)]) for row in body),
    ]


def _over_scenes(rows: list[Row], summarize: Callable[[list[Row]], Row]) -> Mapping[str, Any]:
    """A summary over scenes, or that of each variant by its name."""
    groups = by_variant(rows)
    return {name: summarize(own) for name, own in groups.items()} if any(groups) else summarize(rows)


def reference_table(rows: Sequence[Row], references: Sequence[Reference]) -> list[str]:
    """Ours first (each variant by itself), then each published line, over the figures that were published; means, then
    scene by scene."""
    keys = list(dict.fromkeys(key for reference in references for key in reference.mean))
    scenes = [str(row["scene"]) for row in rows if any(str(row["scene"]) in line.scenes for line in references)]
    heads = [column(key).heading for key in keys]
    heads += [f"{scene} {column(key).heading}" for scene in scenes for key in keys]
    by_scene = {str(row["scene"]): row for row in rows}
    keyed = keys + [key for _ in scenes for key in keys]
    table = [_line(["", *heads]), _line(["---", *["---:"] * len(heads)])]
    for variant, mean in mean_rows(list(rows)).items() or [("", Row())]:
        count = sum(str(row["scene"]).partition(VARIANT)[2] == variant for row in rows)
        ours = [mean.get(key) for key in keys] + [by_scene[scene].get(key) for scene in scenes for key in keys]
        title = f"**this run{variant and ', '}{variant}** ({count} scenes)"
        table.append(_line([title, *map(_show, keyed, ours)]))
    for number, reference in enumerate(references, 1):
        values = [reference.mean.get(key) for key in keys]
        values += [reference.scenes.get(scene, {}).get(key) for scene in scenes for key in keys]
        mark = "" if reference.read_from == "paper" else " \\*"
        table.append(_line([f"{reference.method} [{number}]{mark}", *map(_show, keyed, values)]))
    table.append("")
    for number, reference in enumerate(references, 1):
        note = f" {reference.note}" if reference.note else ""
        table.append(f"[{number}] {reference.source}.{note}  ")
    if any(reference.read_from == "secondary" for reference in references):
        table.append("\\* secondary: read from a copy of the table, not from the paper itself; verify before quoting.")
    return table


def _show(key: str, value: Any) -> str:
    return column(key).show(value)


def _cell(row: Row, key: str) -> str:
    return column(key).show(row.get(key))


def _pictures(output: Path, scene: str) -> list[str]:
    files = sorted((output / SCENE_FOLDER / scene).glob("*.png"))
    lines = [f"![{scene}: {file.stem.replace('_', ' ')}]({file.relative_to(output).as_posix()})" for file in files]
    return [f"### {scene}", "", *lines, ""] if lines else []


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
