"""Downloadable files of a run: PLY, GLB, TUM, nerfstudio and COLMAP, each ready to open."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from common.app.contract import Cloud, PosedFrame
from common.data.sources.images import is_plain_file, read_image
from common.export.colmap import make_colmap_model, write_colmap
from common.export.mesh import write_cloud_glb
from common.export.nerfstudio import write_nerfstudio
from common.export.ply import write_ply
from common.export.trajectory import write_tum
from common.files import atomic_path

POINTS, GLB, TRAJECTORY, NERFSTUDIO, COLMAP = (
    "points.ply",
    "points.glb",
    "trajectory.txt",
    "nerfstudio.zip",
    "colmap.zip",
)
_MISSING = (
    "{count} pictures are not here, because they are frames of a video. To have them written beside the cameras:\n"
    "slam3r reconstruct VIDEO\n"
)
_GLB_POINTS, _SPARSE_POINTS = 500_000, 200_000


def write_bundle(folder: Path, cloud: Cloud, frames: Sequence[PosedFrame], confidence: float) -> list[Path]:
    """Write the points above a confidence and the cameras in every format; returns the files.

    The archives hold the pictures too, where these are files. No path of this machine is written.
    """
    keep = cloud.confidence > confidence
    kept = Cloud(cloud.points[keep], cloud.colors[keep], cloud.confidence[keep])
    poses = np.array([frame.camera_to_world for frame in frames]).reshape(-1, 4, 4)
    folder.mkdir(parents=True, exist_ok=True)
    write_ply(folder / POINTS, kept.points, kept.colors, kept.confidence)
    write_cloud_glb(folder / GLB, kept.points[:_GLB_POINTS], kept.colors[:_GLB_POINTS], poses)
    write_tum(folder / TRAJECTORY, [frame.timestamp for frame in frames], poses)
    written = [folder / POINTS, folder / GLB, folder / TRAJECTORY]
    if frames:
        names = _names(frames)
        written += [
            _write_nerfstudio(folder / NERFSTUDIO, folder / POINTS, frames, names),
            _write_colmap(folder / COLMAP, kept, frames, names),
        ]
    return written


def _names(frames: Sequence[PosedFrame]) -> list[str]:
    """A different file name, without folders, for every frame."""
    names: list[str] = []
    taken: set[str] = set()
    for number, frame in enumerate(frames):
        name = PurePosixPath(frame.name).name or f"{number:06d}"
        if not PurePosixPath(name).suffix or (frame.file is not None and not is_plain_file(frame.file)):
            name = f"{PurePosixPath(name).stem}.jpg"
        name = f"{number:06d}_{name}" if name in taken else name
        taken.add(name)
        names.append(name)
    return names


def _write_nerfstudio(path: Path, points: Path, frames: Sequence[PosedFrame], names: Sequence[str]) -> Path:
    with atomic_path(path) as temporary, TemporaryDirectory() as scratch:
        transforms = Path(scratch) / "transforms.json"
        write_nerfstudio(
            transforms,
            np.array([frame.camera_to_world for frame in frames]),
            np.array([frame.intrinsics for frame in frames]),
            np.array([frame.size for frame in frames]),
            [f"images/{name}" for name in names],
            ply_path=points.name,
        )
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(transforms, transforms.name)
            archive.write(points, points.name)
            _add_images(archive, frames, names)
    return path


def _write_colmap(path: Path, cloud: Cloud, frames: Sequence[PosedFrame], names: Sequence[str]) -> Path:
    model = make_colmap_model(
        np.array([frame.camera_to_world for frame in frames]),
        np.array([frame.intrinsics for frame in frames]),
        np.array([frame.size for frame in frames]),
        names,
        cloud.points[:_SPARSE_POINTS],
        cloud.colors[:_SPARSE_POINTS],
    )
    with atomic_path(path) as temporary, TemporaryDirectory() as scratch:
        write_colmap(Path(scratch) / "0", model)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((Path(scratch) / "0").iterdir()):
                archive.write(file, f"sparse/0/{file.name}")
            _add_images(archive, frames, names)
    return path


def _add_images(archive: zipfile.ZipFile, frames: Sequence[PosedFrame], names: Sequence[str]) -> None:
    missing = 0
    for frame, name in zip(frames, names, strict=True):
        if frame.file is None or not frame.file.is_file():
            missing += 1
        elif is_plain_file(frame.file):
            archive.write(frame.file, f"images/{name}", zipfile.ZIP_STORED)  # compressed already
        else:
            archive.writestr(f"images/{name}", _upright_copy(frame.file), zipfile.ZIP_STORED)
    if missing:
        archive.writestr("images/README.txt", _MISSING.format(count=missing))


def _upright_copy(file: Path) -> bytes:
    """A JPEG of a picture as the cameras describe it."""
    copy = BytesIO()
    Image.fromarray(read_image(file)).save(copy, "JPEG", quality=95)
    return copy.getvalue()
