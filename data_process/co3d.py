"""CO3Dv2: object videos with masks, cropped about the principal point and scaled.

    python -m data_process.co3d raw=DIR output=DIR [key=value ...]

The choice of sequences, crop and scale follow the preparation of Wang et al., "DUSt3R", CVPR 2024. CO3D's unit of
length differs from sequence to sequence (it is that of a structure-from-motion model): "metres" means that unit here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.data.sources.cropping import covering_size
from common.errors import ConfigurationError
from common.files import read_json, write_json
from common.ranges import Count, Pixels, Seed
from data_process.errors import BadFrameError, SceneError
from data_process.formats.co3d_annotations import (
    CATEGORIES,
    TRAINING_CATEGORIES,
    Co3dFrame,
    Selection,
    opencv_camera,
    select_sequences,
)
from data_process.formats.frame_files import decode_color, read_bytes, read_plane
from data_process.formats.rectify import Matrix, Size, crop_intrinsics, resize_image, resize_intrinsics, resize_nearest
from data_process.writing.command import process_verb, run
from data_process.writing.manifest import MANIFEST_FILE
from data_process.writing.runner import ProcessSettings
from data_process.writing.scene_writer import SceneWriter

NAME = "co3d"
LICENCE = "CO3Dv2: CC BY-NC 4.0; github.com/facebookresearch/co3d"

_FOREGROUND = 0.1
"""Masks hold a probability; above this value a pixel is foreground, as in the published reader."""
_FARTHEST = 20.0
"""Largest stored depth, in multiples of the median depth. Readers cut at 3 times the median of a frame; stray depths
far behind would otherwise leave no bits for the object."""
_PROBED_FRAMES = 10


@dataclass(frozen=True, kw_only=True)
class Co3dSettings(ProcessSettings):
    """Settings of configs/process/co3d.yaml."""

    categories: list[str] | None = None
    """Categories such as [chair, cup]; null: those of the 41 published training categories that are present."""
    max_sequences: Count = 50
    """Largest number of sequences per category and split; a random choice if there are more."""
    min_quality: float = 0.5
    """Smallest viewpoint_quality_score of a sequence."""
    seed: Seed = 42
    """Seed of the choice; 42 gives the published one."""
    image_size: Pixels = 512
    """Pixels: the long side becomes at least this, the short side at least 3/4 of it."""
    depth_masks: bool = False
    """Remove depth outside CO3D's depth masks (geometrically consistent pixels); the recipes do not."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.categories or () if name not in CATEGORIES]
        if unknown:
            raise ValueError(f"categories: {', '.join(unknown)} unknown; known: {', '.join(CATEGORIES)}")
        if min(self.max_sequences, self.image_size) < 1:
            raise ValueError("max_sequences and image_size must be at least 1")


@dataclass(frozen=True)
class Co3dScene:
    """A sequence with the annotations of its frames."""

    name: str
    root: Path
    category: str
    sequence: str
    splits: Mapping[str, list[int]]
    """Numbers of the frames of each split; in the published lists a sequence may be in both."""
    frames: tuple[Co3dFrame, ...]
    """Frames of all splits."""


def find_scenes(settings: Co3dSettings) -> list[Co3dScene]:
    """Find the sequences that the published recipes choose, in the categories that are present.

    Raises:
        ConfigurationError: a requested category is missing.
        InputError: annotations are missing or damaged.
    """
    raw = settings.raw_folder()
    wanted = TRAINING_CATEGORIES if settings.categories is None else settings.categories
    present = [category for category in wanted if (raw / category).is_dir()]
    if settings.categories is not None and len(present) < len(wanted):
        missing = ", ".join(category for category in wanted if category not in present)
        raise ConfigurationError(f"categories: {missing} not in {raw}")
    selections = {
        category: select_sequences(raw / category, settings.max_sequences, settings.min_quality, settings.seed)
        for category in present
    }
    return [scene for category, selection in selections.items() for scene in _scenes(raw, category, selection)]


def _scenes(raw: Path, category: str, selection: Selection) -> list[Co3dScene]:
    return [
        Co3dScene(
            name=f"{category}_{sequence}",
            root=raw,
            category=category,
            sequence=sequence,
            splits={split: numbers[sequence] for split, numbers in selection.numbers.items() if sequence in numbers},
            frames=frames,
        )
        for sequence, frames in selection.frames.items()
    ]


def convert(scene: Co3dScene, writer: SceneWriter, settings: Co3dSettings) -> None:
    """Write the frames of a sequence, with a depth scale that uses the range of 16 bits."""
    median = _median_depth(scene)
    writer.depth_scale = 65535 / (_FARTHEST * median)
    writer.attributes.update(
        sensor="phone",
        number_step=1,
        split=next(iter(scene.splits)),
        splits=dict(scene.splits),
        category=scene.category,
        sequence=scene.sequence,
        unit="arbitrary",
        median_depth=median,
    )
    for frame in scene.frames:
        with writer.dropping(frame.number):
            _add(scene.root, frame, writer, settings)


def _add(root: Path, frame: Co3dFrame, writer: SceneWriter, settings: Co3dSettings) -> None:
    camera_to_world, intrinsics = opencv_camera(frame.viewpoint, frame.size)
    if not np.isfinite(intrinsics).all():
        raise BadFrameError("intrinsics are not finite")
    image = decode_color(read_bytes(root / frame.image, "color image"))
    mask = read_plane(root / frame.mask, "mask")
    depth = read_depth(root / frame.depth, frame.depth_factor)
    if settings.depth_masks:
        sure = read_plane(root / frame.depth_mask, "depth mask")
        if sure.shape != depth.shape:
            raise BadFrameError(f"sizes differ: depth {depth.shape}, its mask {sure.shape}")
        depth = np.where(sure > 0, depth, 0)
    if not image.shape[:2] == mask.shape == depth.shape == frame.size:
        sizes = f"color {image.shape[:2]}, mask {mask.shape}, depth {depth.shape}, annotated {frame.size}"
        raise BadFrameError(f"sizes differ: {sizes}")
    crop, size = crop_and_size(intrinsics, frame.size, settings.image_size)
    intrinsics = crop_intrinsics(intrinsics, crop[0].start, crop[1].start)
    intrinsics = resize_intrinsics(intrinsics, image[crop].shape[:2], size)
    foreground = (mask > _FOREGROUND * 255).astype(np.uint8) * np.uint8(255)
    writer.add(
        frame.number,
        resize_image(image[crop], size),
        resize_nearest(np.ascontiguousarray(depth[crop]), size),
        camera_to_world,
        intrinsics,
        mask=resize_nearest(np.ascontiguousarray(foreground[crop]), size),
    )


def read_depth(path: Path, factor: float) -> NDArray[np.float32]:
    """Read depth (H, W) in the unit of the sequence: 16-bit pixels that hold the bits of half-precision numbers.

    Args:
        path: PNG file.
        factor: factor on the numbers (scale_adjustment of the annotations).
    """
    stored = read_plane(path, "depth image").astype(np.uint16)
    depth = stored.view(np.float16).astype(np.float32) * np.float32(factor)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def crop_and_size(intrinsics: Matrix, size: Size, image_size: int) -> tuple[tuple[slice, slice], Size]:
    """Largest crop centred at the principal point, and the size (height, width) to scale it to.

    The uncropped image would get a short side of 3/4 `image_size`, or a long side of `image_size` if that is larger;
    the crop is scaled so that it covers this.
    """
    (height, width), center = size, np.rint(intrinsics[:2, 2] + 0.5).astype(int)
    margin_x, margin_y = min(center[0], width - center[0]), min(center[1], height - center[1])
    if min(margin_x, margin_y) < 1:
        raise BadFrameError("the principal point is outside the image")
    crop = (
        slice(int(center[1] - margin_y), int(center[1] + margin_y)),
        slice(int(center[0] - margin_x), int(center[0] + margin_x)),
    )
    scale = max(image_size * 3 // 4 / min(size), image_size / max(size))
    target = int(height * scale + 1e-6), int(width * scale + 1e-6)
    return crop, covering_size((int(2 * margin_y), int(2 * margin_x)), target)


def _median_depth(scene: Co3dScene) -> float:
    """Median over some frames of a sequence, in its unit; unreadable frames are skipped."""
    medians = []
    for frame in _spread(scene.frames, _PROBED_FRAMES):
        try:
            depth = read_depth(scene.root / frame.depth, frame.depth_factor)
        except BadFrameError:
            continue
        if (depth > 0).any():
            medians.append(float(np.median(depth[depth > 0])))
    if not medians:
        raise SceneError(f"{scene.name}: no frame with depth")
    return float(np.median(medians))


def _spread(frames: Sequence[Co3dFrame], count: int) -> list[Co3dFrame]:
    """Select at most `count` frames, evenly spaced."""
    return list(frames[:: max(1, -(-len(frames) // count))])


def write_selected_sequences(output: Path) -> None:
    """Write selected_seqs_train.json and selected_seqs_test.json: category to sequence to frame numbers, as DUSt3R's
    preparation lists them, of the scenes and frames that are in the output."""
    manifest = read_json(output / MANIFEST_FILE) if (output / MANIFEST_FILE).is_file() else {}
    if manifest.get("name") != NAME:  # nothing was written, or the output was rejected because it holds something else
        return
    selected: dict[str, dict[str, dict[str, list[int]]]] = {"train": {}, "test": {}}
    for facts in manifest["scenes"].values():
        attributes, dropped = facts["attributes"], {entry["frame"] for entry in facts["dropped"]}
        for split, numbers in attributes["splits"].items():
            sequences = selected[split].setdefault(attributes["category"], {})
            sequences[attributes["sequence"]] = [number for number in numbers if number not in dropped]
    for split, categories in selected.items():
        write_json(output / f"selected_seqs_{split}.json", categories)


def process(settings: Co3dSettings) -> None:
    """Convert the raw data, or verify the output."""
    try:
        run(NAME, LICENCE, find_scenes, convert, settings, settings.own("categories"))
    finally:  # also after an interrupted or partly failed run
        if not settings.verify:
            write_selected_sequences(Path(settings.output))


VERB = process_verb(
    "co3d",
    Co3dSettings,
    process,
    "CO3Dv2 to the processed layout. raw holds "
    "<category>/{frame_annotations.jgz,sequence_annotations.jgz,set_lists/set_lists_fewview_train.json} and "
    "<category>/<sequence>/{images,masks,depths,depth_masks}/.",
)

if __name__ == "__main__":
    launch(VERB)
