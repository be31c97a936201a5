"""Parallel, resumable conversion of the scenes of a data set; a bad scene does not end the run."""

from __future__ import annotations

import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2

from common.command.many.settings import ManySettings
from common.configuration import GivenText
from common.errors import ConfigurationError, InputError
from common.processes import become_helper
from common.progress import ProgressReporter
from common.ranges import Count, Quality, Workers
from data_process.errors import EmptySceneError, SceneTakenError, WriteError
from data_process.writing.manifest import SCENE_FILE, DatasetInfo, claim, scene_folders, verify, write_manifest
from data_process.writing.scene_writer import SceneWriter

__all__ = ["ProcessSettings", "ProcessSummary", "RawScene", "process", "verify"]


class RawScene(Protocol):
    """Scene of the raw data: a small frozen dataclass that can be pickled to a worker process."""

    @property
    def name(self) -> str:
        """Name of the folder to write."""


SceneT = TypeVar("SceneT", bound=RawScene)


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Settings of every processing command; see configs/process/_common.yaml."""

    output: GivenText
    """Folder of the processed data set."""
    raw: str | None = None
    """Folder of the download; not needed to verify."""
    jpeg_quality: Quality = 95
    """JPEG quality of re-encoded colour images, 0 to 100."""
    workers: Workers = 4
    """Worker processes, with one thread each; 0 works in this process."""
    overwrite: bool = False
    """Write the chosen scenes again and replace each one when its new version is whole, instead of keeping it."""
    verify: bool = False
    """Check the output instead of writing it."""
    scenes: list[str] | None = None
    """Names of the scenes to take; None for all."""
    many: ManySettings = field(default_factory=ManySettings)
    """Other machines: ``many.engine=slurm many.workers=8`` is this command on eight of them."""

    def raw_folder(self) -> Path:
        """Folder of the download. Raises ConfigurationError if it is not given or missing."""
        if self.raw is None:
            raise ConfigurationError("raw: needs a value, give raw=DIR")
        if not Path(self.raw).is_dir():
            raise ConfigurationError(f"raw: {self.raw} is not a folder")
        return Path(self.raw)

    def own(self, *paths: str) -> dict[str, Any]:
        """Settings that a data set adds to these, without those that are only locations (`paths`)."""
        common = {field.name for field in fields(ProcessSettings)} | set(paths)
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in common}


@dataclass(frozen=True, kw_only=True)
class StridedSettings(ProcessSettings):
    """Settings of video data sets, which can be subsampled."""

    every: Count = 1
    """Take every n-th frame."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")


@dataclass
class ProcessSummary:
    """Summary of a run."""

    written: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    """Scenes complete before the run."""
    taken: list[str] = field(default_factory=list)
    """Scenes written by a concurrent run."""
    empty: list[str] = field(default_factory=list)
    """Scenes without a frame in the raw data."""
    failed: dict[str, str] = field(default_factory=dict)
    """Failed scenes with the reason."""
    kept: list[str] = field(default_factory=list)
    """Scenes that were to be replaced and of which the earlier version is still there: failed ones and empty ones."""
    settings_changed: bool = False
    """Earlier versions were made with other settings."""
    frames: int = 0
    """Frames written by this run."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Frames left out by this run, by reason."""

    @property
    def exit_code(self) -> int:
        """Exit status of the command: 1 if a scene failed, or is not what was to be written."""
        return 1 if self.failed or self.kept else 0


@dataclass(frozen=True)
class _Done:
    """Report of a worker about one scene."""

    name: str
    frames: int = 0
    dropped: tuple[str, ...] = ()
    failure: str | None = None
    taken: bool = False
    empty: bool = False
    kept: bool = False
    """An earlier version of the scene is still there, though a new one was to be written."""


def process(
    dataset: DatasetInfo,
    scenes: Sequence[SceneT],
    convert: Callable[[SceneT, SceneWriter], None],
    settings: ProcessSettings,
) -> ProcessSummary:
    """Convert every missing scene, and write the manifest.

    Several runs, even on several machines with a shared disk, may work on one output: each scene is written by one.

    Args:
        dataset: name, licence and settings, for dataset.json.
        scenes: all scenes of the raw data.
        convert: adds the frames of a scene to a writer; a module-level function (or a `functools.partial` of one),
            since it is sent to worker processes. An exception makes the scene fail.
        settings: output folder, workers, choice of scenes.

    Raises:
        ConfigurationError: no scenes, an unknown name, or an output with other settings.
        WriteError: the output cannot be written.
        InputError: a worker was killed.
    """
    chosen, output = _choose(scenes, settings), Path(settings.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        there = {folder.name for folder in scene_folders(output)}
        names = {scene.name for scene in chosen}
        # Scenes that are still of other settings than dataset.json says are replaced without being asked for.
        outdated = claim(output, dataset, there, free=not there - names if settings.overwrite else not there)
        replaced = there & names if settings.overwrite else outdated & names
        present = there & names - replaced
        summary = ProcessSummary(present=sorted(present), settings_changed=bool(outdated))
        wanted = [(scene, scene.name in replaced) for scene in chosen if scene.name not in present]
        try:
            for done in _convert_all(dataset, wanted, convert, output, settings.workers):
                _count(done, summary)
        finally:
            if outdated:
                claim(output, dataset, outdated - {*summary.written}, free=True)
            write_manifest(output, dataset)
    except OSError as error:
        raise WriteError(f"cannot write {error.filename or output}: {error.strerror}") from error
    return summary


def _choose(scenes: Sequence[SceneT], settings: ProcessSettings) -> list[SceneT]:
    names = Counter(scene.name for scene in scenes)
    if not scenes:
        raise ConfigurationError("raw: no scenes found there")
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ConfigurationError(f"raw: scenes of the same name: {', '.join(twice[:5])}")
    if settings.scenes is None:
        return list(scenes)
    unknown = [name for name in settings.scenes if name not in names]
    if unknown:
        raise ConfigurationError(f"scenes: {', '.join(unknown[:5])} not found; there are {', '.join([*names][:5])} ...")
    return [scene for scene in scenes if scene.name in settings.scenes]


def _count(done: _Done, summary: ProcessSummary) -> None:
    summary.frames += done.frames
    summary.dropped.update(done.dropped)
    if done.kept:
        summary.kept.append(done.name)
    if done.failure is not None:
        summary.failed[done.name] = done.failure
    else:
        (summary.taken if done.taken else summary.empty if done.empty else summary.written).append(done.name)


def _convert_all(
    dataset: DatasetInfo,
    scenes: list[tuple[SceneT, bool]],
    convert: Callable[[SceneT, SceneWriter], None],
    output: Path,
    workers: int,
) -> Iterator[_Done]:
    """Convert scenes, each with whether it is replaced, here or in workers; yields the reports as they finish."""
    with ProgressReporter(dataset.name, len(scenes), "scene") as progress:
        if workers == 0 or not scenes:
            for scene, again in scenes:
                yield _convert_scene(dataset, scene, convert, output, again)
                progress.update()
            return
        with worker_pool(min(workers, len(scenes))) as pool:
            tasks = [pool.submit(_convert_scene, dataset, scene, convert, output, again) for scene, again in scenes]
            for task in as_completed(tasks):
                yield task.result()
                progress.update()


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Context of worker processes with one OpenCV thread each; on an exception they are terminated at once.

    Raises:
        InputError: a worker was killed.
    """
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a worker process was killed, most often for want of memory: start again with fewer workers=..., "
                "complete scenes are kept"
            ) from None
        raise
    pool.shutdown()


def _start_worker() -> None:
    """Use one OpenCV thread, leave interrupts to the parent, and exit if the parent dies."""
    cv2.setNumThreads(1)
    become_helper()


def _convert_scene(
    dataset: DatasetInfo, scene: SceneT, convert: Callable[[SceneT, SceneWriter], None], output: Path, replace: bool
) -> _Done:
    folder, quality = output / scene.name, dataset.jpeg_quality
    writer = SceneWriter(folder, depth_scale=dataset.depth_scale, jpeg_quality=quality, replace=replace)
    try:
        with writer:
            convert(scene, writer)
    except WriteError:
        raise
    except SceneTakenError:
        return _Done(scene.name, taken=True)
    except EmptySceneError:
        return _Done(scene.name, empty=True, kept=_is_kept(folder, replace))
    except InputError as error:
        reason = " ".join(str(error).split()).removeprefix(f"{scene.name}: ")
        return _Done(scene.name, failure=reason, kept=_is_kept(folder, replace))
    except Exception as error:  # an unexpected fault of the data: report where, and continue
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        failure = f"{type(error).__name__}: {error} ({where})"
        return _Done(scene.name, failure=failure, kept=_is_kept(folder, replace))
    return _Done(scene.name, writer.num_frames, tuple(reason for _, reason in writer.dropped))


def _is_kept(folder: Path, replace: bool) -> bool:
    """Whether an earlier version of a scene stays where a new one was to be written."""
    return replace and (folder / SCENE_FILE).exists()
