"""ScanNet++: DSLR and iPhone images, undistorted, with depth (and classes) rendered from the scanned mesh.

    python -m data_process.scannetpp raw=DIR output=DIR [key=value ...]

Each scene gives two: <scene>_dslr and <scene>_iphone. Images, size, undistortion and the range of depth as in the
preparations of Wang et al., "DUSt3R", CVPR 2024, and Liu et al., "SLAM3R", CVPR 2025; the data are those of Yeshwanth
et al., "ScanNet++", ICCV 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.data.sources.cropping import covering_size
from common.errors import ConfigurationError
from common.ranges import NotNegative, Pixels, Positive
from data_process.errors import BadFrameError
from data_process.formats import scannetpp_labels
from data_process.formats.lens_rectification import undistortion
from data_process.formats.mesh_depth import SceneMesh
from data_process.formats.rectify import resize_image, resize_intrinsics, resize_nearest
from data_process.formats.scannet_labels import UNLABELLED
from data_process.formats.scannetpp_frames import NUMBER_STEP, SensorFrame, frames
from data_process.writing.command import process_verb, run
from data_process.writing.runner import ProcessSettings
from data_process.writing.scene_writer import SceneWriter

LICENCE = "ScanNet++ terms of use, non-commercial research, no redistribution; kaldir.vc.in.tum.de/scannetpp"

_cached_undistortion = lru_cache(maxsize=2)(undistortion)  # an iPhone's maps take 25 MB


@dataclass(frozen=True, kw_only=True)
class ScannetppSettings(ProcessSettings):
    """Settings of configs/process/scannetpp.yaml."""

    sensors: list[str] = field(default_factory=lambda: ["iphone", "dslr"])
    """Sensors to convert; each sensor of a scene becomes a scene of its own."""
    splits: dict[str, str] = field(default_factory=lambda: {"train": "nvs_sem_train", "val": "nvs_sem_val"})
    """Lists in splits/ (without .txt) that name the scenes; leave one out with '~splits.val'."""
    long_side: Pixels = 920
    """Pixels: images are scaled to cover long_side x 3/4 long_side (920 x 690, DSLR 1035 x 690)."""
    near: NotNegative = 0.05
    """Metres along z: nearer surfaces of the mesh are ignored."""
    far: Positive = 20.0
    """Metres along z: farther surfaces have no depth."""
    labels: bool = True
    """Write semantic labels where a scene has segments.json and segments_anno.json."""
    require_masks: bool = True
    """Drop frames without an anonymization mask; false: assume that they have no anonymized pixels."""
    skip_blurred: bool = False
    """Drop DSLR images that nerfstudio/transforms.json marks as bad; the recipes keep them."""

    def __post_init__(self) -> None:
        if not self.sensors or any(sensor not in NUMBER_STEP for sensor in self.sensors):
            raise ValueError(f"sensors must be some of {', '.join(NUMBER_STEP)}, got {self.sensors}")
        if self.long_side < 4 or not 0 <= self.near < self.far:
            raise ValueError("long_side must be at least 4, and 0 <= near < far")


@dataclass(frozen=True)
class ScannetppScene:
    """The images of one sensor in one scene."""

    name: str
    folder: Path
    sensor: str
    split: str


def find_scenes(settings: ScannetppSettings) -> list[ScannetppScene]:
    """Find the scenes of the chosen splits on disk, once per available sensor."""
    raw = settings.raw_folder()
    scenes: list[ScannetppScene] = []
    for split, name in settings.splits.items():
        listing = raw / "splits" / f"{name}.txt"
        if not listing.is_file():
            raise ConfigurationError(f"splits: {listing} is missing")
        for scene in sorted(listing.read_text().split()):
            folder = raw / "data" / scene
            present = [sensor for sensor in settings.sensors if (folder / sensor).is_dir()]
            scenes += [ScannetppScene(f"{scene}_{sensor}", folder, sensor, split) for sensor in present]
    return scenes


def convert(scene: ScannetppScene, writer: SceneWriter, settings: ScannetppSettings) -> None:
    """Write the frames of one sensor."""
    writer.attributes.update(
        sensor=scene.sensor, number_step=NUMBER_STEP[scene.sensor], split=scene.split, scene=scene.folder.name
    )
    scans = scene.folder / "scans"
    mesh = SceneMesh(scans / "mesh_aligned_0.05.ply")
    classes = None
    if settings.labels and scannetpp_labels.has_annotations(scans):
        classes = scannetpp_labels.vertex_classes(scans, mesh.num_vertices)
    for frame in frames(scene.sensor, scene.folder / scene.sensor, settings.skip_blurred):
        if not isinstance(frame, SensorFrame):
            writer.drop(*frame)
            continue
        with writer.dropping(frame.number):
            _add(frame, mesh, classes, writer, settings)


def _add(
    frame: SensorFrame,
    mesh: SceneMesh,
    classes: NDArray[np.uint8] | None,
    writer: SceneWriter,
    settings: ScannetppSettings,
) -> None:
    camera, camera_to_world = frame.registered.lens, frame.registered.camera_to_world
    if not np.isfinite(camera_to_world).all():
        raise BadFrameError("pose is not finite")
    image, usable = frame.read_color(), _usable(frame, settings.require_masks)
    if image.shape[:2] != camera.size or usable.shape != camera.size:
        raise BadFrameError(f"sizes differ: color {image.shape[:2]}, mask {usable.shape}, camera {camera.size}")
    ideal = _cached_undistortion(camera)
    size = covering_size(camera.size, (settings.long_side * 3 // 4, settings.long_side))
    intrinsics = resize_intrinsics(ideal.intrinsics, camera.size, size)
    clear = ideal.seen & (ideal.image(usable) == 255)
    clear = resize_nearest(clear.astype(np.uint8), size) > 0
    view = mesh.render(intrinsics, size, camera_to_world, settings.near, settings.far)
    label = None
    if classes is not None:
        label = np.where(clear & (view.vertex >= 0), classes[view.vertex], np.uint8(UNLABELLED))
    writer.add(
        frame.number,
        resize_image(ideal.image(image), size),
        np.where(clear, view.depth, 0),
        camera_to_world,
        intrinsics,
        label=label,
        timestamp=frame.timestamp,
    )


def _usable(frame: SensorFrame, require_mask: bool) -> NDArray[np.uint8]:
    """(H, W) 255 where nothing is anonymized."""
    try:
        return frame.read_mask()
    except BadFrameError:
        if require_mask:
            raise
        return np.full(frame.registered.lens.size, 255, np.uint8)


def process(settings: ScannetppSettings) -> None:
    """Convert the raw data, or verify the output."""
    run("scannetpp", LICENCE, find_scenes, convert, settings, settings.own("sensors", "splits"))


VERB = process_verb(
    "scannetpp",
    ScannetppSettings,
    process,
    "ScanNet++ to the processed layout. raw holds splits/<list>.txt and data/<scene>/{dslr,iphone,scans}/ as "
    "data_process/README.md draws them.",
)

if __name__ == "__main__":
    launch(VERB)
