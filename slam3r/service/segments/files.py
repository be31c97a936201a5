"""Closed worlds on disk: points, trajectory, mesh. A folder appears when it is complete, and none is ever overwritten.

A world is staged first, in a hidden folder, with everything but its mesh, which may take a while: what waits for a mesh
is on disk, and the next worker publishes it should this one die.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.export.mesh import Mesh, write_mesh_glb
from common.export.ply import write_mesh_ply
from common.export.result_folder import TRAJECTORY, write_map
from common.export.trajectory import read_tum
from common.files import read_json, write_json
from slam3r.service.mesh.files import TimedMesh
from slam3r.service.segments.trajectory import TrajectoryRecorder
from slam3r.service.streams.events import WorldEnded

logger = logging.getLogger(__name__)

MESH, MESH_BINARY, ABOUT = "mesh.ply", "mesh.glb", "segment.json"
STAGED_WORLD = re.compile(r"[0-9a-f]{32}")
"""Name of a staged folder."""
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class SegmentFolders:
    """The folders of saved segments, ``ROOT/stream/segment``, with the part where there are several."""

    def __init__(self, root: Path, worker: str) -> None:
        """
        Args:
            root: of the folders.
            worker: tells this worker's staged folders from those of others.
        """
        self._root, self.staging = root, root / f".staging-{worker}"

    def stage(self, ended: WorldEnded, trajectory: TrajectoryRecorder) -> Path:
        """Write everything but the mesh; returns the staged folder.

        Raises:
            OSError: it cannot be written. Nothing is left behind.
        """
        staged = self.staging / uuid.uuid4().hex
        points = ended.points
        about: dict[str, Any] = {
            "stream_id": ended.stream_id,
            "segment": ended.segment,
            "part": ended.part,
            "ended_by": ended.reason,
            "frames": ended.frames,
            "poses": len(trajectory.seconds),
            "points": 0 if points is None else len(points.points),
            "triangles": 0,
        }
        try:
            staged.mkdir(parents=True)
            cloud = None if points is None else (points.points, points.colors, points.confidence)
            write_map(staged, cloud, trajectory.seconds, trajectory.poses, about, ABOUT)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        return staged

    def add_mesh(self, staged: Path, mesh: TimedMesh) -> None:
        """Add a mesh to a staged folder.

        Raises:
            OSError: it cannot be written.
        """
        write_mesh(mesh, staged, read_tum(staged / TRAJECTORY).camera_to_world)
        write_json(staged / ABOUT, {**read_json(staged / ABOUT), "triangles": len(mesh.triangles)})

    def publish(self, staged: Path) -> Path:
        """Move a staged folder to its place; returns the place, which did not exist before.

        Raises:
            OSError: it cannot be moved.
        """
        about = read_json(staged / ABOUT)
        name = _harmless(about["segment"]) + (f".part{about['part']}" if about["part"] else "")
        parent, number = self._root / _harmless(about["stream_id"]), 1
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            place = parent / (name if number == 1 else f"{name}.{number}")
            try:
                os.rename(staged, place)  # onto a folder with files it fails, whoever has made it meanwhile
                return place
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                number += 1

    def recover(self) -> list[tuple[Path, Path]]:
        """Publish what an earlier worker has staged, without meshes; returns staged folders and their places."""
        places = []
        for staged in sorted(path for path in self.staging.glob("*") if path.is_dir()):
            try:
                if (staged / ABOUT).exists():
                    places.append((staged, self.publish(staged)))
                else:
                    shutil.rmtree(staged, ignore_errors=True)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                logger.error("%s of an earlier worker cannot be published: %s", staged, error)
        return places


def write_mesh(mesh: TimedMesh, folder: Path, camera_poses: NDArray) -> None:
    """Write a mesh as PLY in world coordinates, and as GLB, which turns it upright, with cameras (N, 4, 4)."""
    write_mesh_ply(folder / MESH, mesh.vertices, mesh.triangles, mesh.colors)
    write_mesh_glb(folder / MESH_BINARY, Mesh(mesh.vertices, mesh.triangles, mesh.colors), camera_poses)
    # Scenes of trimesh refer to themselves: megabytes each, and the collector may come to them many segments later.
    gc.collect()


def _harmless(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".")[:100] or "_"
