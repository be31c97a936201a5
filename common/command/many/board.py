"""Claims, records and the table of all inputs, on a disk that all workers see.

A claim is a lock that the system releases when its holder dies, so a worker that is killed leaves its input to a later
call. File systems without locks give no such protection.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from common.configuration import changed_values
from common.errors import ConfigurationError
from common.export.result_folder import SUMMARY
from common.files import atomic_write, read_json, write_json

TABLE, STATE = "jobs.csv", ".jobs"
KILLED = "its worker was killed, most often for want of memory"


@dataclass(frozen=True)
class Figures:
    """Figures that a command returns for a finished input."""

    frames: int
    """Frames or pictures used."""
    verdict: str
    """Agreement of pictures and cameras, in a sentence."""


@dataclass(frozen=True)
class Record:
    """A row of the table."""

    source: str
    """The input as the user gave it."""
    status: Literal["done", "failed", "waiting"]
    seconds: float = 0.0
    """Wall-clock seconds."""
    frames: int = 0
    verdict: str = ""
    output: str = ""
    """Folder of the results."""
    reason: str = ""
    """Reason of a failure, in a line."""
    call: str = field(default="", compare=False)
    """Call of the command that made this record."""


@dataclass(frozen=True)
class Board:
    """The records of all inputs of a batch."""

    output: Path
    """Folder of the batch: one folder of results for each input, and the table."""
    call: str
    """Random name of this call of the command."""
    again: bool = False
    """Do inputs again that an earlier call finished."""

    @property
    def state(self) -> Path:
        """Folder of claims, records and logs."""
        return self.output / STATE

    def record(self, name: str) -> Record | None:
        """Record of an input; None where there is none, or where the file is damaged."""
        with suppress(OSError, ValueError, TypeError):
            return Record(**read_json(self._file(name)))
        return None

    def settled(self, name: str) -> Record | None:
        """The record of an input that this call has nothing left to do for."""
        record = self.record(name)
        if record is None or record.call == self.call:
            return record
        whole = record.status == "done" and (self.output / name / SUMMARY).is_file()
        return record if whole and not self.again else None

    def write(self, name: str, record: Record) -> None:
        """Settle an input."""
        write_json(self._file(name), asdict(record))
        self.put_back(name)

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Context in which no other worker takes this input; False if another one has it."""
        lock = FileLock(self.state / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def begin(self, name: str) -> str | None:
        """Note, under a claim, that work begins; returns the call that began before and was killed, if any was."""
        mark = self._mark(name)
        before = mark.read_text() if mark.exists() else None
        with atomic_write(mark, "w") as file:
            file.write(self.call)
        return before

    def put_back(self, name: str) -> None:
        """Forget that work began, as it did not end by a kill."""
        self._mark(name).unlink(missing_ok=True)

    def refuse(self, reason: str) -> None:
        """Tell all workers to stop: nothing can be done with any input."""
        write_json(self.state / "refused.json", {"call": self.call, "reason": reason})

    @property
    def refusal(self) -> str | None:
        """The reason that a worker of this call gave to `refuse`."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = read_json(self.state / "refused.json")
            return found["reason"] if found["call"] == self.call else None
        return None

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings of the batch; those of an earlier call must be the same, unless all is done again.

        Raises:
            ConfigurationError: they are not.
        """
        file = self.state / "settings.json"
        before: Mapping[str, Any] = settings
        with suppress(OSError, ValueError):
            before = read_json(file)
        changed = changed_values(before, settings)
        if changed and not self.again:
            raise ConfigurationError(
                f"{self.output} holds results with other settings ({changed[0]}); choose another output, or do all "
                "again with overwrite=true"
            )
        write_json(file, settings)

    def write_table(self, sources: Mapping[str, str]) -> list[Record]:
        """Write the table of all inputs (name -> as the user gave it), and return its rows."""
        rows = [self.settled(name) or self._open(name, source) for name, source in sources.items()]
        columns = [one.name for one in fields(Record) if one.name != "call"]
        with atomic_write(self.output / TABLE, "w") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        return rows

    def close(self, sources: Mapping[str, str]) -> None:
        """All workers have ended: an input that one of them began and did not finish has failed."""
        for name, source in sources.items():
            if self.settled(name) is None and self._began(name) == self.call:
                self.killed(name, source)

    def killed(self, name: str, source: str) -> None:
        """Record that the worker of this call that began an input is dead. What it left is replaced by the next."""
        record = Record(source, "failed", output=str(self.output / name), reason=KILLED, call=self.call)
        write_json(self._file(name), asdict(record))

    def _open(self, name: str, source: str) -> Record:
        return Record(source, "waiting", output=str(self.output / name))

    def _began(self, name: str) -> str | None:
        with suppress(OSError):
            return self._mark(name).read_text()
        return None

    def _file(self, name: str) -> Path:
        return self.state / f"{name}.json"

    def _mark(self, name: str) -> Path:
        return self.state / f"{name}.began"


def folder_names(sources: Sequence[Path]) -> list[str]:
    """A folder name for each input: that of the file or folder, with its parent's in front where two are alike.

    Raises:
        ConfigurationError: two inputs have one name even so.
    """
    short = [path.stem if path.is_file() else path.resolve().name for path in sources]
    names = [
        name if short.count(name) == 1 else f"{path.resolve().parent.name}_{name}" for name, path in zip(short, sources)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"several inputs would be written to {twice[0]}; give them one by one, or rename them")
    return names
