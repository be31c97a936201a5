"""Profile of scoring a reconstruction, stage by stage, on a synthetic scene as large as one of Replica."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.evaluation.pointmaps import PointsProtocol
from common.evaluation.sequence import FrameChoice, ReplicaReader, RgbdSequence
from common.evaluation.truth import SequenceTruth, load_truth
from common.export.npy import NpyWriter
from common.files import write_json
from common.meters import MemoryMeter
from common.profiling.report import SpeedRow
from slam3r.evaluation.recorded_run import EvaluationRun
from slam3r.evaluation.sequence_scores import depth_row, path_row, points_row

T = TypeVar("T")
_ROOM = np.array([3.2, 1.4, 2.6])  # half of its sides, metres
_DEPTH_SCALE = 6553.5  # depth scale of the release


@dataclass(frozen=True)
class ScoringWorkload:
    """Size of a scene and its scores; the defaults are a scene of Replica by the published protocol."""

    frames: int = 2000
    depth_size: tuple[int, int] = (680, 1200)
    """(height, width) of the stored depth images."""
    size: tuple[int, int] = (224, 224)
    """(height, width) of the network images."""
    protocol: PointsProtocol = field(default_factory=PointsProtocol)
    noise: tuple[float, ...] = (0.02, 0.3)
    """Errors of the reconstructions that are scored, metres: a good one and a poor one."""


QUICK = ScoringWorkload(6, (68, 120), (32, 32), PointsProtocol(num_samples=1000), (0.02,))
"""Toy workload, which only shows that it works."""


def scoring_rows(quick: bool = False) -> Iterator[SpeedRow]:
    """Seconds and peak memory of every stage, then of all together, with pictures; files go to a temporary folder.

    Reading depth images is a stage; writing them and making the reconstruction are not.
    """
    work = QUICK if quick else ScoringWorkload()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sequence = RgbdSequence(write_room(folder / "room", work), FrameChoice())
        reading, truth = _timed("true depth, read", work, partial(load_truth, sequence, work.size, folder / "truth"))
        yield reading
        for noise in work.noise:
            run = write_run(folder, sequence, truth, noise)
            stages: dict[str, Callable[[], object]] = {
                "points": partial(points_row, run, truth, work.protocol, folder),
                "depth": partial(depth_row, run, truth),
                "trajectory": partial(path_row, run.camera_to_world, sequence, folder),
            }
            rows = [reading]
            for stage, function in stages.items():
                row, _ = _timed(f"{stage}, {noise:g} m of noise", work, function)
                rows.append(row)
                yield row
            total = SpeedRow("", "", f"all scores, {noise:g} m of noise", sum(row.seconds or 0.0 for row in rows))
            total.peak_memory = max(row.peak_memory or 0 for row in rows)
            yield total


def write_room(folder: Path, work: ScoringWorkload) -> ReplicaReader:
    """Depth images of a walk through a box with ripples on its walls, in the layout of the Replica renders."""
    (folder / "results").mkdir(parents=True)
    height, width = work.depth_size
    focal = width / 2
    camera = {"fx": focal, "fy": focal, "cx": (width - 1) / 2, "cy": (height - 1) / 2, "scale": _DEPTH_SCALE}
    write_json(folder.parent / "cam_params.json", {"camera": camera})
    poses = _walk(work.frames)
    np.savetxt(folder / "traj.txt", poses.reshape(-1, 16))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([(x - camera["cx"]) / focal, (y - camera["cy"]) / focal, np.ones_like(x)], axis=-1)

    def write(number: int) -> None:
        depth = _box_depth(rays, poses[number])
        cv2.imwrite(str(folder / f"results/depth{number:06d}.png"), np.rint(depth * _DEPTH_SCALE).astype(np.uint16))
        (folder / f"results/frame{number:06d}.jpg").touch()  # pictures are not scored

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, range(work.frames)))
    return ReplicaReader(folder)


def _walk(count: int) -> NDArray[np.float64]:
    """(count, 4, 4) camera-to-world: twice round the room, looking about."""
    angle = np.linspace(0, 4 * np.pi, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("yx", np.stack([1.3 * angle, 0.3 * np.sin(5 * angle)], axis=1)).as_matrix()
    poses[:, :3, 3] = np.stack([1.5 * np.cos(angle), 0.3 * np.sin(3 * angle), 1.2 * np.sin(angle)], axis=1)
    return poses


def _box_depth(rays: NDArray[np.float32], pose: NDArray) -> NDArray[np.float32]:
    """(H, W) depth along z of a box with ripples of a centimetre, for rays (H, W, 3) whose z is 1."""
    turn, centre = pose[:3, :3].astype(np.float32), pose[:3, 3].astype(np.float32)
    depth = np.full(rays.shape[:2], np.inf, np.float32)
    for axis in range(3):
        along = rays @ turn[axis]
        with np.errstate(divide="ignore"):
            np.minimum(depth, (np.copysign(np.float32(_ROOM[axis]), along) - centre[axis]) / along, out=depth)
    return depth + np.float32(0.01) * np.sin(7 * depth * rays[..., 0]) * np.cos(9 * depth * rays[..., 1])


def write_run(folder: Path, sequence: RgbdSequence, truth: SequenceTruth, noise: float) -> EvaluationRun:
    """Write the recording of a simulated system with errors of known size, in another frame and unit."""
    random = np.random.default_rng(0)
    count, height, width = truth.depth.shape
    turn = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix() / 3
    points = NpyWriter(folder / "points.npy", (height, width, 3), np.float32)
    confidence = NpyWriter(folder / "confidence.npy", (height, width), np.float32)
    pixels = np.arange(height * width)
    drift = noise * np.cumsum(random.standard_normal((count, 3)), axis=0) / np.sqrt(count)
    for frame in range(count):
        own = truth.points(np.full(len(pixels), frame), pixels) + drift[frame]
        own += noise * random.standard_normal(own.shape)
        points.append((own @ turn.T + 1).reshape(1, height, width, 3))
        confidence.append(random.uniform(2, 7, (1, height, width)))  # four of five above the published threshold
    for writer in (points, confidence):
        writer.close()
    poses = sequence.camera_to_world.copy()
    poses[:, :3, 3] = (poses[:, :3, 3] + drift) @ turn.T + 1
    poses[:, :3, :3] = 3 * turn @ poses[:, :3, :3]
    mapped_points, mapped_confidence = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("points", "confidence")
    )
    return EvaluationRun(mapped_points, mapped_confidence, np.ones(mapped_confidence.shape, bool), poses, 1, 0.0, 0, 0)


def _timed(stage: str, work: ScoringWorkload, function: Callable[[], T]) -> tuple[SpeedRow, T]:
    meter, start = MemoryMeter(), time.perf_counter()
    result = function()
    row = SpeedRow("", "", f"{stage}, {work.frames} frames", time.perf_counter() - start)
    row.peak_memory = meter.peak().process
    return row, result
