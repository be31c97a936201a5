"""Closed worlds on disk: points, mesh, trajectory. A folder is complete or absent; a full disk is tried again."""

from __future__ import annotations

import asyncio
import logging
import re
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.export.mesh import Mesh as ColoredMesh
from common.export.mesh import write_mesh_glb
from common.export.ply import write_ply
from common.export.trajectory import write_tum
from common.files import atomic_folder, write_json
from slam3r.service.mesher import Mesh, Mesher
from slam3r.service.metrics import Metrics
from slam3r.service.settings import SegmentSettings
from slam3r.service.streams import WorldEnded

logger = logging.getLogger(__name__)

POINTS, TRAJECTORY, MESH, MESH_BINARY, ABOUT = "points.ply", "trajectory.txt", "mesh.ply", "mesh.glb", "segment.json"


class TrajectoryRecorder:
    """Timestamps and poses of a world: 136 bytes a frame, 15 MB in an hour at 30 frames per second."""

    def __init__(self) -> None:
        self._times, self._poses = array("q"), array("d")

    def add(self, timestamp_ns: int, camera_to_world: NDArray) -> None:
        """Take the (4, 4) pose of a frame."""
        self._times.append(timestamp_ns)
        self._poses.extend(np.asarray(camera_to_world, np.float64).reshape(-1).tolist())

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(N,)."""
        return np.array(self._times, np.int64) / 1e9

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4)."""
        return np.array(self._poses, np.float64).reshape(-1, 4, 4)


@dataclass
class ClosedWorld:
    """What is written of a world."""

    ended: WorldEnded
    trajectory: TrajectoryRecorder
    mesher: Mesher | None
    mesh: Mesh | None = field(default=None)
    folder: Path | None = field(default=None)
    """Where it goes; chosen once, so that a second attempt goes to the same place."""


OnSaved = Callable[[ClosedWorld, str | None], Awaitable[None]]
"""Is told of every attempt to write, with its error."""


class SegmentSaver:
    """Finishes meshes and writes worlds, one at a time, beside the stream. `run` it in a task."""

    def __init__(self, settings: SegmentSettings, metrics: Metrics, on_saved: OnSaved) -> None:
        self._settings, self._metrics, self._on_saved = settings, metrics, on_saved
        self._arrived: asyncio.Queue[ClosedWorld] = asyncio.Queue()
        self._unsaved: list[ClosedWorld] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.last_error: str | None = None
        """Of the last attempt; None if it went well."""

    def submit(self, world: ClosedWorld) -> None:
        """Take a world that is over."""
        self._idle.clear()
        self._arrived.put_nowait(world)

    async def run(self) -> None:
        """Save what comes, and try again what failed. Ends by being cancelled."""
        while True:
            try:
                wait = self._settings.retry_seconds if self._unsaved else None
                world = await asyncio.wait_for(self._arrived.get(), wait)
            except asyncio.TimeoutError:
                await self._save(self._unsaved.pop(0))
                continue
            if world.mesher is not None:
                world.mesh = await asyncio.to_thread(world.mesher.finish)
            await self._save(world)
            if self._arrived.empty():
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until what was submitted was tried, then give the failed ones a last try."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            logger.error("segments were not all saved in %.0f s", seconds)
        for world in list(self._unsaved):
            self._unsaved.remove(world)
            await self._save(world)

    async def _save(self, world: ClosedWorld) -> None:
        error = None
        if self._settings.save and world.ended.frames:
            try:
                world.folder = world.folder or choose_folder(Path(self._settings.folder), world.ended)
                await asyncio.to_thread(write_world, world, world.folder)
            except Exception as problem:  # a full disk, above all; Open3D has kinds of its own
                error = f"{type(problem).__name__}: {problem}"
                self._metrics.saves_failed.inc()
                logger.error("segment %s was not saved: %s", world.ended.segment, error)
                self._keep(world)
            self.last_error = error
        await self._on_saved(world, error)

    def _keep(self, world: ClosedWorld) -> None:
        self._unsaved.append(world)
        if len(self._unsaved) > self._settings.max_unsaved:
            given_up = self._unsaved.pop(0)
            logger.error("segment %s is given up: newer ones wait to be saved too", given_up.ended.segment)


def choose_folder(root: Path, ended: WorldEnded) -> Path:
    """A folder that does not exist: stream/segment, with the part where there are several. Names are made harmless."""
    name = _harmless(ended.segment) + (f".part{ended.part}" if ended.part else "")
    parent = root / _harmless(ended.stream_id)
    folder, number = parent / name, 1
    while folder.exists():  # of an earlier session: never overwritten
        number += 1
        folder = parent / f"{name}.{number}"
    return folder


def write_world(world: ClosedWorld, folder: Path) -> None:
    """Write everything into a folder that appears when it is complete."""
    ended, scene, mesh = world.ended, world.ended.map, world.mesh
    with atomic_folder(folder) as inside:
        if scene is not None:
            write_ply(inside / POINTS, scene.points, scene.colors, scene.confidence)
        write_tum(inside / TRAJECTORY, world.trajectory.seconds, world.trajectory.poses)
        if mesh is not None and len(mesh.triangles):
            write_mesh(mesh, inside, world.trajectory.poses)
        about: dict[str, Any] = {
            "stream_id": ended.stream_id,
            "segment": ended.segment,
            "part": ended.part,
            "ended_by": ended.reason,
            "frames": ended.frames,
            "poses": len(world.trajectory.seconds),
            "points": 0 if scene is None else len(scene.points),
            "triangles": 0 if mesh is None else len(mesh.triangles),
        }
        write_json(inside / ABOUT, about)


def write_mesh(mesh: Mesh, folder: Path, camera_poses: NDArray) -> None:
    """Write a mesh as PLY in world coordinates, and as GLB, which turns it upright, with cameras (N, 4, 4)."""
    import open3d

    vector, path = open3d.utility, folder / MESH
    built = open3d.geometry.TriangleMesh(
        vector.Vector3dVector(mesh.vertices.astype(np.float64)), vector.Vector3iVector(mesh.triangles.copy())
    )
    built.vertex_colors = vector.Vector3dVector(mesh.colors / 255.0)
    built.compute_vertex_normals()
    if not open3d.io.write_triangle_mesh(path, built):
        raise OSError(f"cannot write {path}")
    colored = ColoredMesh(mesh.vertices.copy(), mesh.triangles.copy(), mesh.colors.copy())
    write_mesh_glb(folder / MESH_BINARY, colored, camera_poses)


def _harmless(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".")[:100] or "_"
