"""Several inputs from the command line: start workers, report every input, and write the table."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.command.line.checking import composed_settings
from common.command.line.outcome import EXIT_INTERRUPTED, stop
from common.command.many.board import TABLE, Board, Record, folder_names
from common.command.many.engines import ENGINES, Workers
from common.command.many.local import cores_for
from common.command.many.settings import ManySettings
from common.command.many.worker import Worker
from common.command.registry import plain
from common.command.verb import Verb
from common.errors import ConfigurationError
from common.files import check_apart, check_writable
from common.paths import user_path

_POLL = 0.5
_IRRELEVANT = ("source", "output", "overwrite", "threads", "many")
"""Settings that do not change what a result is, or are those of a single input."""


def run_many(verb: Verb, inputs: Mapping[str, list[str]]) -> int:
    """Do a command for several inputs.

    Args:
        verb: the command.
        inputs: input as the user gave it -> its overrides.

    Returns:
        Exit status: 0 if all inputs are done, 1 if some failed or are left, 130 after Ctrl-C.

    Raises:
        ConfigurationError: a setting does not fit, or the output holds results made with others.
        InputError: the output cannot be written.
    """
    settings = _checked(verb, inputs)
    output = user_path(settings.output)
    names = folder_names([Path(source) for source in inputs])
    sources = dict(zip(names, inputs, strict=True))
    board = Board(output, uuid.uuid4().hex[:12], settings.overwrite)
    _open(board, settings, inputs)
    for name, source in sources.items():
        known = board.record(name)
        if known is not None and Path(known.source).resolve() != Path(source).resolve():
            raise ConfigurationError(f"{output / name} belongs to {known.source}, not to {source}; rename one of them")
    rest = [name for name in names if board.settled(name) is None]
    print(f"{len(names)} inputs, {len(names) - len(rest)} done before; the table is {output / TABLE}", flush=True)
    many: ManySettings = settings.many
    count = min(many.workers, len(rest))
    if count:
        threads = cores_for(many, count) if many.engine == "local" else many.cpus
        overrides = dict(zip(names, inputs.values(), strict=True))
        worker = Worker(verb, board, sources, overrides, threads)
        started = ENGINES[many.engine](many, worker, board.state, count)
        try:
            _watch(started, board, {name: sources[name] for name in rest}, len(names))
        except KeyboardInterrupt:
            started.stop()
            sys.stderr.write("interrupted; the same command goes on\n")
            board.write_table(sources)
            return EXIT_INTERRUPTED
        for fault in started.faults():
            print(fault, flush=True)
        board.close({name: sources[name] for name in rest})
    rows = board.write_table(sources)
    if (refusal := board.refusal) is not None:
        stop(refusal)
    return _summary(rows)


def _checked(verb: Verb, inputs: Mapping[str, list[str]]) -> Any:
    """Settings that all inputs share; an input of each kind of source is checked."""
    kinds = {next(word for word in words if word.startswith("source=")): words for words in inputs.values()}
    settings: Any = None
    for words in kinds.values():
        settings = composed_settings(verb, words)
    if settings.output is None:
        raise ConfigurationError(f"several inputs need -o OUT: a folder for each of the {len(inputs)} is made in it")
    return settings


def _open(board: Board, settings: Any, inputs: Mapping[str, list[str]]) -> None:
    """Check the output and the settings of an earlier call, before any work."""
    check_writable(board.output, (TABLE,))
    check_apart(board.output, [path for path in inputs if user_path(path).is_dir()])
    board.state.mkdir(parents=True, exist_ok=True)
    mattering = {key: value for key, value in plain(settings).items() if key not in _IRRELEVANT}
    (mattering.get("run") or {}).pop("progress", None)
    places = ("source=", "source.path=", "source.pattern=")
    words = next(iter(inputs.values()))
    mattering["source"] = sorted(word for word in words if word.startswith("source.") and not word.startswith(places))
    board.check_settings(mattering)


def _watch(workers: Workers, board: Board, waiting: dict[str, str], total: int) -> None:
    """Print a line for every input that is settled, until no worker is alive."""
    told: set[str] = set()
    is_running = True
    while is_running:
        is_running = workers.running() > 0
        for name in [name for name in waiting if name not in told]:
            record = board.settled(name)
            if record is not None:
                told.add(name)
                print(f"[{total - len(waiting) + len(told)}/{total}] {_line(record)}", flush=True)
        if is_running:
            time.sleep(_POLL)


def _line(record: Record) -> str:
    if record.status == "failed":
        return f"{record.source} failed: {record.reason}"
    return f"{record.source}: {record.frames} frames in {record.seconds:.0f} s; {record.verdict}"


def _summary(rows: list[Record]) -> int:
    """Print what is not done, by name; returns the exit status."""
    failed = [row for row in rows if row.status == "failed"]
    left = [row for row in rows if row.status == "waiting"]
    print(f"{len(rows) - len(failed) - len(left)} done, {len(failed)} failed, {len(left)} left")
    for row in failed:
        print(f"failed: {row.source}: {row.reason}")
    for row in left:
        print(f"left: {row.source}: no worker came to it, or another call has it")
    if failed or left:
        print("the same command goes on with these")
    return 1 if failed or left else 0
