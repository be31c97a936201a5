"""Per-visitor state: a run, its result, a folder; and the binary format that the viewer draws."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.app.contract import Cloud, Outcome, Splats, Watcher
from common.drawing.seen_sides import smooth_normals
from common.export.mesh import Mesh, frusta_lines
from common.geometry.up_axis import find_up, level_direction

_BLUE, _RED = np.array([38.0, 110, 230]), np.array([235.0, 70, 50])
_MAX_VIEW_POINTS = 1_000_000
_NORMALS, _LIVE_NORMALS = 50_000, 10_000
"""Points whose neighbourhood is looked at, of a finished and of a growing scene."""


@dataclass
class StoredScene:
    """State of one visitor."""

    folder: Path
    """For files; goes with the visitor."""
    watcher: Watcher = field(default_factory=Watcher)
    outcome: Outcome | None = None
    mesh: Mesh | None = None
    running: bool = False
    """The networks are at work."""
    unwanted: bool = False
    """The run was cancelled while it waited for its turn."""
    runs: int = 0
    """Rises with every run, so that the viewer knows a new one from a frame more."""
    last_seen: float = field(default_factory=time.monotonic)

    @property
    def version(self) -> str:
        """Changes whenever there is something else to draw."""
        stage = self.watcher.version if self.running else f"ended{'' if self.mesh is None else id(self.mesh)}"
        return f"{self.runs}.{stage}"

    def start(self) -> Watcher:
        """Forget the last run, begin a new one."""
        self.watcher, self.outcome, self.mesh = Watcher(), None, None
        self.runs, self.running = self.runs + 1, True
        return self.watcher

    def watch(self) -> Watcher:
        """A watcher for other work on the finished run, in place of the last one."""
        self.watcher = Watcher()
        return self.watcher

    def packed(self) -> bytes:
        """Current content for the viewer; see `pack`."""
        version = self.version
        if self.outcome is None:
            cloud, cameras = self.watcher.grown()
            return pack(version, cloud, cameras, final=not self.running)
        return pack(version, self.outcome.cloud, self.outcome.cameras, self.outcome.splats, self.mesh, final=True)


class SceneStore:
    """All visitors, by a token that cannot be guessed."""

    def __init__(self, folder: Path, hours: float = 2.0) -> None:
        """
        Args:
            folder: for the files of all; made if need be.
            hours: after which a visitor who was not seen is forgotten.
        """
        self._folder, self._seconds = folder, hours * 3600
        self._scenes: dict[str, StoredScene] = {}
        self._lock = threading.Lock()

    def add(self) -> str:
        """A new visitor's token."""
        self._forget_old()
        token = secrets.token_urlsafe(24)
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        with self._lock:
            self._scenes[token] = StoredScene(folder)
        return token

    def find(self, token: str | None) -> StoredScene | None:
        """A visitor's scene; None for a token that is not (any more)."""
        scene = self._scenes.get(token or "")
        if scene is not None:
            scene.last_seen = time.monotonic()
        return scene

    def drop(self, token: str | None) -> None:
        """A visitor left: the run stops, the files go."""
        with self._lock:
            scene = self._scenes.pop(token or "", None)
        if scene is not None:
            scene.watcher.cancel()
            shutil.rmtree(scene.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for token in [token for token, scene in list(self._scenes.items()) if now - scene.last_seen > self._seconds]:
            self.drop(token)


def pack(
    version: str,
    cloud: Cloud,
    cameras: ArrayLike,
    splats: Splats | None = None,
    mesh: Mesh | None = None,
    *,
    final: bool,
) -> bytes:
    """A scene for the viewer: length of the header (uint32), header (JSON), arrays, all little endian.

    The header names type and shape of the arrays in their order; each begins at a multiple of 4 bytes.
    """
    poses = np.asarray(cameras, np.float64).reshape(-1, 4, 4)
    count = _MAX_VIEW_POINTS
    points, confidence = cloud.points[:count], cloud.confidence[:count]
    arrays: dict[str, NDArray] = {
        "points": points.astype("<f4"),
        "colors": _padded(cloud.colors[:count]),
        "confidence": confidence.astype("<f4"),
    }
    if len(poses):
        sample = _NORMALS if final else _LIVE_NORMALS
        normals = smooth_normals(points, poses[:, :3, 3], sample)
        arrays["normals"] = np.pad(np.rint(127 * normals), ((0, 0), (0, 1))).astype("i1")
    low, high = _extent(points, poses)
    size = float(np.linalg.norm(high - low)) or 1.0
    if len(poses):
        arrays |= _camera_lines(poses, size)
    if splats is not None:
        arrays["scales"] = splats.scales[:count].astype("<f4")
        arrays["rotations"] = splats.rotations[:count].astype("<f4")
        arrays["opacities"] = splats.opacities[:count].astype("<f4")
    if mesh is not None:
        arrays |= {
            "vertices": mesh.vertices.astype("<f4"),
            "vertex_colors": _padded(mesh.colors),
            "faces": mesh.triangles.astype("<u4"),
        }
    up = find_up(poses) if len(poses) else np.array([0.0, -1, 0])
    header: dict[str, Any] = {
        "version": version,
        "final": final,
        "center": ((low + high) / 2).tolist(),
        "size": size,
        "up": up.tolist(),
        "forward": (level_direction(poses, up) if len(poses) else np.array([0.0, 0, 1])).tolist(),
        "confidence": np.quantile(confidence, [0.02, 0.98]).tolist() if len(confidence) else [1, 2],
        "arrays": [[name, array.dtype.str[1:], list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return len(text).to_bytes(4, "little") + text + body


def _extent(points: NDArray, poses: NDArray) -> tuple[NDArray, NDArray]:
    """Corners (3,) of the box that holds nearly all points, and the cameras."""
    ends = poses[:, :3, 3]
    if len(points):
        sample = points[:50_000]
        ends = np.concatenate([ends, np.quantile(sample, [0.02, 0.98], axis=0)])
    return (ends.min(axis=0), ends.max(axis=0)) if len(ends) else (np.zeros(3), np.ones(3))


def _camera_lines(poses: NDArray, size: float) -> dict[str, NDArray]:
    """Ends (L, 2, 3) and colours (L, 2, 4) of path and frusta, from blue (first) to red (last)."""
    share = np.linspace(0, 1, len(poses))[:, None]
    shades = (1 - share) * _BLUE + share * _RED
    frusta = frusta_lines(poses, size)
    path = np.stack([poses[:-1, :3, 3], poses[1:, :3, 3]], axis=1)
    colors = np.concatenate([np.repeat(shades, len(frusta) // len(poses), axis=0), shades[:-1]]).astype(np.uint8)
    return {
        "lines": np.concatenate([frusta, path]).astype("<f4"),
        "line_colors": np.repeat(_padded(colors)[:, None], 2, axis=1),
    }


def _padded(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([colors, np.full((len(colors), 1), 255, np.uint8)], axis=1)
