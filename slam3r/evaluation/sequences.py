"""Benchmark of points, trajectory and depth on RGB-D sequences: Replica, 7-Scenes, TUM, ScanNet or others."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from common.evaluation.benchmark import VARIANT, BenchmarkBase, Row
from common.evaluation.pointmaps import PointsProtocol
from common.evaluation.sequence import FrameChoice, RgbdSequence, SequenceReader, choose_scenes, open_readers
from common.evaluation.truth import SequenceTruth, load_truth
from common.paths import user_path
from common.ranges import FramesPerSecond, Pixels
from common.refinement.settings import Mode
from slam3r.evaluation.given import GIVEN, GivenVariant, known_of
from slam3r.evaluation.model_under_test import ModelUnderTest
from slam3r.evaluation.peers import PEERS, Peer, run_peer
from slam3r.evaluation.recorded_run import EvaluationRun, run_for_evaluation
from slam3r.evaluation.sequence_scores import depth_row, focal_row, path_row, points_row, protocol_for
from slam3r.scene.outputs import PREDICTIONS

Measure = Literal["points", "trajectory", "depth"]
Variant = Literal["off", "cameras", "dense", "pycolmap_incremental", "pycolmap_global", GivenVariant]
_TRUTH = "truth"

_NOTES: Mapping[Measure, str] = {
    "points": (
        "points: pixels with known depth and a confidence above {confidence:g}, of which {num_samples:,} are drawn; "
        "similarity by RANSAC over corresponding pixels and rigid ICPs (seed {seed}), voxels of {voxel_size:g} m; "
        "accuracy is the mean distance to the truth, completeness that from the truth ({truth} true points)"
    ),
    "trajectory": (
        "trajectory: evo, camera centres aligned by a similarity, over frames with a pose; RPE between neighbouring "
        "poses, after the same scale"
    ),
    "depth": (
        "depth: registered points in their frame's estimated camera against sensor depth; least squares: scale and "
        "shift per image with two rounds of trimming, mean over pixels; median: each image scaled by the ratio of "
        "medians, mean over images, which misleads where an image has two depths and the ratio decides for one"
    ),
}
_SPEED_NOTE = "frames/s: the whole reconstruction with reading, without loading the model; memory: resident, peak"


@dataclass(frozen=True)
class SequenceSettings:
    """A file of ``configs/benchmark``."""

    name: str
    path: str
    """Folder of a data set, or of one scene."""
    measures: tuple[Measure, ...]
    scenes: tuple[str, ...] | None = None
    """Names of scenes; None for all."""
    split: str | None = None
    frames: FrameChoice = field(default_factory=FrameChoice)
    fps: FramesPerSecond = 30.0
    """Frames per second of the recording, for time axes."""
    size: tuple[Pixels, Pixels] = (224, 224)
    """(height, width) of the network images."""
    points: PointsProtocol = field(default_factory=PointsProtocol)
    figures: bool = True
    keep_predictions: bool = False
    """Keep every frame's arrays: a later run with other `points` then scores them without a reconstruction."""
    variants: tuple[Variant, ...] = ()
    """Rows of each sequence: modes of the refinement, pycolmap alone on the same pictures (its path), and runs that are
    given true cameras or depths (`slam3r.evaluation.given`). Empty: one row, as ``refinement`` says."""
    truth_cache: str | None = None
    """Folder for true depth at network resolution, shared by runs; None for one in the scene's own results."""

    def __post_init__(self) -> None:
        if not self.measures:
            raise ValueError("measures must name at least one of points, trajectory, depth")


class SequenceBenchmark(BenchmarkBase[SequenceSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) over the sequences of a folder."""

    settings_class = SequenceSettings
    without_effect = ("scenes", "split", "figures", "keep_predictions", "truth_cache", "path")

    def __init__(self, settings: SequenceSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self.name = settings.name
        notes = [_NOTES[measure].format(**asdict(settings.points)) for measure in settings.measures]
        self.notes: Sequence[str] = (*notes, _SPEED_NOTE)

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: SequenceSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config)

    def scenes(self) -> list[str]:
        """Names of the sequences asked for, each with every variant."""
        names = [reader.name for reader in choose_scenes(list(self._readers.values()), self.settings.scenes)]
        variants = self.settings.variants
        return [f"{name}{VARIANT}{variant}" for name in names for variant in variants] if variants else names

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Reconstruct, or take what is recorded, and score."""
        settings = self.settings
        name, _, variant = scene.partition(VARIANT)
        sequence = RgbdSequence(self._readers[name], settings.frames, settings.fps)
        if variant in PEERS:
            return self._peer_row(variant, sequence, folder)
        recording = folder / "reconstruction"
        key = {
            **self.model.describe(),
            "frames": sequence.numbers.tolist(),
            "path": str(user_path(settings.path).resolve()),
            "variant": variant,
        }
        truth = self._truth(sequence, folder)  # first: a damaged file should not cost a reconstruction
        known = known_of(variant, sequence) if variant in GIVEN else None
        mode = cast(Mode, variant) if variant and known is None else None
        run = run_for_evaluation(self.model, sequence, settings.size, recording, key, mode, known)
        row: Row = {"frames": sequence.length, "stride": run.stride}
        row |= self._scores(run, sequence, truth, folder if settings.figures else None)
        row |= {"frames_per_second": run.frames_per_second, "peak_memory": run.peak_memory}
        row |= {"peak_gpu_memory": run.peak_gpu_memory} if run.peak_gpu_memory else {}
        row |= {"seconds_refining": run.seconds_refining} if run.refined else {}
        if not settings.keep_predictions:
            shutil.rmtree(recording / PREDICTIONS, ignore_errors=True)
            shutil.rmtree(folder / _TRUTH, ignore_errors=True)
        return row

    def _peer_row(self, peer: Peer, sequence: RgbdSequence, folder: Path) -> Row:
        """The path by another method; it has no dense points."""
        run = run_peer(peer, sequence)
        pictures = folder if self.settings.figures else None
        row = path_row(run.camera_to_world, sequence, pictures)
        focal = np.full(sequence.length, run.focal)
        return {"frames": sequence.length, **row, **focal_row(focal, sequence), "seconds": run.seconds}

    def _truth(self, sequence: RgbdSequence, folder: Path) -> SequenceTruth | None:
        """Load the true points and depths, from the cache or the scene's own folder."""
        settings = self.settings
        if not {"points", "depth"} & set(settings.measures):
            return None
        cache = folder if settings.truth_cache is None else user_path(settings.truth_cache) / sequence.name
        return load_truth(sequence, settings.size, cache / _TRUTH)

    def _scores(
        self, run: EvaluationRun, sequence: RgbdSequence, truth: SequenceTruth | None, pictures: Path | None
    ) -> Row:
        """Every measure that was asked for, in order."""
        settings, row = self.settings, Row()
        if truth is not None and "points" in settings.measures:
            row |= points_row(run, truth, protocol_for(run, settings.points), pictures)
        if truth is not None and "depth" in settings.measures:
            row |= depth_row(run, truth)
        if "trajectory" in settings.measures:
            row |= path_row(run.camera_to_world, sequence, pictures)
            row |= {} if run.focal is None else focal_row(run.focal, sequence)
        return row

    @cached_property
    def _readers(self) -> dict[str, SequenceReader]:
        settings = self.settings
        return {reader.name: reader for reader in open_readers(user_path(settings.path), settings.split)}
