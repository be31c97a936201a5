"""A finished result folder as the page shows it: read from its files, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.app.contract import Before, Cloud, Outcome, Picture, PosedFrame, Splats
from common.app.levels import levels_by_share, levels_by_views
from common.data.sources.images import ImageReadError, read_image
from common.errors import InputError
from common.export.gaussian_ply import read_gaussian_ply
from common.export.mesh import Mesh, read_mesh
from common.export.ply import read_ply
from common.export.result_folder import (
    GAUSSIANS,
    MESH,
    POINTS,
    TRAJECTORY,
    UNREFINED_POINTS,
    UNREFINED_TRAJECTORY,
    read_summary,
)
from common.export.trajectory import read_tum
from common.paths import user_path

MAX_POINTS = 2_000_000
"""Points that are kept of a folder, a random choice."""
_LARGEST_FILE = 4_000_000_000
"""Bytes of a file of points or Gaussians, which is read as a whole."""
_SOLID = 0.05
"""Opacity of the Gaussians that are shown at the beginning, at least."""
_PICTURES = ("frames.png", "overview.png", "preview.png")


def read_finished(folder: str | Path) -> Outcome:
    """Read what a run of SLAM3R or Uni3R left behind.

    Args:
        folder: with ``points.ply`` or ``gaussians.ply``, and what else there is: ``summary.json``,
            ``trajectory.txt``, ``unrefined.ply``, ``mesh.ply`` and pictures.

    Raises:
        InputError: it holds no such result, or a file of it is damaged.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise InputError(f"run: {folder} is no folder; expected the output of a run")
    if not (folder / POINTS).is_file() and not (folder / GAUSSIANS).is_file():
        inside = [path.parent.name for name in (POINTS, GAUSSIANS) for path in sorted(folder.glob(f"*/{name}"))]
        hint = f"; there are results in {', '.join(inside[:3])}" if inside else ""
        raise InputError(f"run: {folder} holds no {POINTS} and no {GAUSSIANS}, so it is no result of a run{hint}")
    summary = read_summary(folder)
    verdict = summary.get("verdict")
    verdict = verdict if isinstance(verdict, dict) else {}
    outcome = _gaussians(folder) if (folder / GAUSSIANS).is_file() else _points(folder, verdict)
    outcome.frames = [
        PosedFrame(f"frame {number}", 0.0, pose, np.full((3, 3), np.nan), (0, 0))
        for number, pose in enumerate(_poses(folder / TRAJECTORY))
    ]
    outcome.verdict = str(verdict.get("sentence", ""))
    outcome.agrees = verdict.get("agrees") if isinstance(verdict.get("agrees"), bool) else None
    outcome.mesh = _mesh(folder / MESH)
    outcome.figures = _figures(summary)
    outcome.warnings = [str(warning) for warning in _list(summary, "warnings") if warning != outcome.verdict]
    outcome.strip = [Picture(name, image) for name in _PICTURES if (image := _image(folder / name)) is not None]
    return outcome


def _points(folder: Path, verdict: Mapping[str, Any]) -> Outcome:
    cloud = _cloud(folder / POINTS)
    if verdict.get("applied") not in ("cameras", "dense"):
        return Outcome(cloud, [], levels_by_share(cloud.confidence, 1.0))
    before = None
    if (folder / UNREFINED_POINTS).is_file():
        before = Before(_cloud(folder / UNREFINED_POINTS), np.array(_poses(folder / UNREFINED_TRAJECTORY)))
    return Outcome(cloud, [], levels_by_views(cloud.confidence), before=before)


def _gaussians(folder: Path) -> Outcome:
    path = _bounded(folder / GAUSSIANS)
    found = read_gaussian_ply(path)
    order = np.random.default_rng(0).permutation(len(found.means))[:MAX_POINTS]
    order = order[np.isfinite(found.means[order]).all(axis=1) & np.isfinite(found.scales[order]).all(axis=1)]
    lengths = np.linalg.norm(found.rotations[order], axis=1, keepdims=True)
    rotations = (found.rotations[order] / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    splats = Splats(found.scales[order], rotations, found.opacities[order])
    cloud = Cloud(found.means[order], found.colors[order], 100 * splats.opacities)
    solid = float((splats.opacities > _SOLID).mean()) if len(order) else 1.0
    return Outcome(cloud, [], levels_by_share(cloud.confidence, solid, "Gaussians"), splats=splats)


def _cloud(path: Path) -> Cloud:
    """Points in random order; gray where the file has no colours."""
    try:
        found = read_ply(_bounded(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    order = np.random.default_rng(0).permutation(len(found.points))[:MAX_POINTS]
    order = order[np.isfinite(found.points[order]).all(axis=1)]
    count = len(order)
    return Cloud(
        found.points[order],
        np.full((count, 3), 128, np.uint8) if found.colors is None else found.colors[order].astype(np.uint8),
        np.ones(count, np.float32) if found.confidence is None else np.nan_to_num(found.confidence[order]),
    )


def _bounded(path: Path) -> Path:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise InputError(f"{path} has {size / 1e9:.1f} GB, at most {_LARGEST_FILE / 1e9:.0f} can be shown")
    return path


def _poses(path: Path) -> NDArray[np.float64]:
    """(N, 4, 4); none where there is no file."""
    if not path.is_file():
        return np.empty((0, 4, 4))
    try:
        return read_tum(path).camera_to_world
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _mesh(path: Path) -> Mesh | None:
    return read_mesh(_bounded(path)) if path.is_file() else None


def _image(path: Path) -> NDArray[np.uint8] | None:
    """The picture; None where there is none that can be read."""
    try:
        return read_image(path)
    except ImageReadError:
        return None


def _figures(summary: Mapping[str, Any]) -> dict[str, str]:
    """The single values of a summary, as they are, and those of its verdict."""
    figures: dict[str, str] = {}
    verdict = summary.get("verdict")
    for name, value in [*summary.items(), *(verdict.items() if isinstance(verdict, dict) else ())]:
        if name in ("sentence", "reason") or not isinstance(value, (str, int, float)):
            continue
        rounded = f"{value:.4g}" if isinstance(value, float) else str(value)
        figures[name.replace("_", " ")] = {"True": "yes", "False": "no"}.get(rounded, rounded)
    model = summary.get("model")
    if isinstance(model, dict) and "name" in model:
        figures["model"] = str(model["name"])
    return figures


def _list(summary: Mapping[str, Any], key: str) -> list[Any]:
    value = summary.get(key)
    return value if isinstance(value, list) else []
