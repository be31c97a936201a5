"""Shared body of the processing commands: verify or convert, then print a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from common.command.many.engines import ENGINES
from common.command.registry import register
from common.command.verb import Verb
from common.errors import ConfigurationError
from common.files import check_apart, check_writable
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import ProcessSettings, ProcessSummary, SceneT, process, verify
from data_process.writing.scene_writer import SceneWriter

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)
_SHOWN = 20


def run(
    name: str,
    licence: str,
    find: Callable[[SettingsT], Sequence[SceneT]],
    convert: Callable[[SceneT, SceneWriter, SettingsT], None],
    settings: SettingsT,
    knobs: Mapping[str, Any] | None = None,
) -> None:
    """Verify the output, or convert the scenes that `find` returns; exits with 1 on problems.

    Args:
        name: of the data set.
        licence: see `DatasetInfo`.
        find: finds the scenes of the raw data; not called for verification.
        convert: adds the frames of a scene; see `data_process.writing.runner.process`.
        settings: passed to both.
        knobs: settings that determine the content of the output; None for all that the data set adds.
    """
    if settings.workers < 0:
        raise ConfigurationError(f"workers: at least 0, got {settings.workers}")
    if not 0 <= settings.jpeg_quality <= 100:
        raise ConfigurationError(f"jpeg_quality: 0 to 100, got {settings.jpeg_quality}")
    if settings.overwrite and settings.many.engine != "local":
        raise ConfigurationError("overwrite: not on several machines, which would each write all scenes; remove them")
    check_writable(settings.output)
    check_apart(settings.output, [settings.raw])
    if settings.verify:
        problems = verify(Path(settings.output), settings.workers)
        _list(problems, len(problems))
        print(f"{settings.output}: {len(problems)} problems" if problems else f"{settings.output}: all is well")
        sys.exit(1 if problems else 0)
    dataset = DatasetInfo(name, licence, settings.own() if knobs is None else knobs, jpeg_quality=settings.jpeg_quality)
    with_settings: Callable[[SceneT, SceneWriter], None] = partial(convert, settings=settings)  # type: ignore[call-arg]
    scenes = find(settings)
    if settings.many.engine != "local":
        spread(lambda number: process(dataset, scenes, with_settings, settings), settings)
    summary = process(dataset, scenes, with_settings, settings)  # the failed ones again, which tells why
    print_summary(summary, settings.output)
    sys.exit(summary.exit_code)


def spread(work: Callable[[int], object], settings: ProcessSettings) -> None:
    """Let other machines do the work, each with `ProcessSettings.workers` processes: they share the scenes by locks.

    Args:
        work: what each does; called with its number.
        settings: ``many`` says where and how many.
    """
    logs = Path(settings.output) / ".jobs"
    logs.mkdir(parents=True, exist_ok=True)
    machines = ENGINES[settings.many.engine](settings.many, work, logs, settings.many.workers)
    try:
        while machines.running():
            time.sleep(1.0)
    except KeyboardInterrupt:
        machines.stop()
        raise
    _list(faults := machines.faults(), len(faults))


def print_summary(summary: ProcessSummary, output: str) -> None:
    """Print a table of what a run did, and the scenes that failed."""
    table = Table("scenes", "", title=output, title_justify="left")
    table.add_row("written", str(len(summary.written)))
    table.add_row("complete before", str(len(summary.present)))
    if summary.taken:
        table.add_row("left to another run", str(len(summary.taken)))
    if summary.empty:
        table.add_row("empty", str(len(summary.empty)))
    table.add_row("failed", str(len(summary.failed)))
    if summary.kept:
        table.add_row("not replaced", str(len(summary.kept)))
    table.add_section()
    table.add_row("frames written", str(summary.frames))
    for reason, count in summary.dropped.most_common():
        table.add_row(f"frames dropped: {reason}", str(count))
    Console().print(table)
    of_others = ", which was made with other settings" if summary.settings_changed else ""
    _list([f"{name}: no frames in the raw data, left out" for name in summary.empty], len(summary.empty))
    _list([f"{name}: {reason}" for name, reason in summary.failed.items()], len(summary.failed))
    _list([f"{name}: its earlier version stays{of_others}" for name in summary.kept], len(summary.kept))


def _list(lines: Sequence[str], total: int) -> None:
    for line in lines[:_SHOWN]:
        print(line)
    if total > _SHOWN:
        print(f"... and {total - _SHOWN} more")


def process_verb(name: str, settings: type, work: Callable[[Any], None], summary: str) -> Verb:
    """The command ``python -m data_process.<name>``.

    Args:
        name: of the data set, and of its file in ``configs/process``.
        settings: its settings.
        work: does it.
        summary: what the raw folder holds.
    """
    raw = "" if name == "rooms" else "raw=DIR "
    return Verb(
        name=f"python -m data_process.{name}",
        config=f"process/{name}",
        settings=settings,
        run=work,
        register=partial(register, f"process/{name}", settings),
        summary=f"{summary} Started again, it continues where it was. ",
        examples=(f"python -m data_process.{name} {raw}output=DIR",),
        see="data_process/README.md says more.",
    )
