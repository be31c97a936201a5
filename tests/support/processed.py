"""Small processed data sets for tests, in the layout that `data_process` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

FOCAL = 40.0


def write_scene(
    folder: Path,
    numbers: Sequence[int],
    size: tuple[int, int] = (36, 48),
    depth_scale: float = 1000.0,
    attributes: dict | None = None,
    labels: bool = False,
    mask: bool = False,
) -> Path:
    """A scene of grey images: frame n is n times 2 grey levels, n + 1 metres away, and taken from x = n metres.

    The mask covers the left half. The right half is twice as far away where there is one.
    """
    height, width = size
    for kind in ("color", "depth", *(["label"] if labels else []), *(["mask"] if mask else [])):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    left = np.arange(width) < width // 2
    poses = np.tile(np.eye(4, dtype=np.float32), (len(numbers), 1, 1))
    intrinsics = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]], np.float32)
    for position, number in enumerate(numbers):
        poses[position, 0, 3] = number
        name = f"{number:06d}"
        depth = np.full((height, width), (number + 1) * depth_scale)
        if mask:
            depth[:, ~left] *= 2
            cv2.imwrite(str(folder / "mask" / f"{name}.png"), np.tile(np.uint8(255) * left, (height, 1)))
        cv2.imwrite(str(folder / "color" / f"{name}.jpg"), np.full((height, width, 3), (2 * number) % 256, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), depth.round().astype(np.uint16))
        if labels:
            cv2.imwrite(str(folder / "label" / f"{name}.png"), np.full((height, width), number % 8, np.uint8))
    np.savez(
        folder / "cameras.npz",
        number=np.asarray(numbers, np.int64),
        camera_to_world=poses,
        intrinsics=np.tile(intrinsics, (len(numbers), 1, 1)),
    )
    facts = {"layout": 1, "frames": len(numbers), "depth_scale": depth_scale, "attributes": attributes or {}}
    (folder / "scene.json").write_text(json.dumps(facts))
    return folder


def write_manifest(root: Path) -> None:
    """scenes.json over the scenes that are there."""
    scenes = {path.parent.name: json.loads(path.read_text()) for path in sorted(root.glob("*/scene.json"))}
    (root / "scenes.json").write_text(json.dumps({"name": root.name, "layout": 1, "scenes": scenes}))
