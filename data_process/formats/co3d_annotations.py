"""Annotations of CO3Dv2: choice of sequences, and cameras in the conventions of this project.

Sources: Reizenstein et al., "Common Objects in 3D", ICCV 2021, and the README of facebookresearch/co3d (set lists,
frame and sequence annotations); cameras as in PyTorch3D's documentation ("Cameras", NDC) and its Implicitron data
loader; the choice of sequences as in the preparation of Wang et al., "DUSt3R", CVPR 2024.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from data_process.errors import BadFrameError
from data_process.formats.rectify import Matrix, Size

# fmt: off
CATEGORIES = (
    "apple", "backpack", "ball", "banana", "baseballbat", "baseballglove", "bench", "bicycle", "book", "bottle",
    "bowl", "broccoli", "cake", "car", "carrot", "cellphone", "chair", "couch", "cup", "donut", "frisbee",
    "hairdryer", "handbag", "hotdog", "hydrant", "keyboard", "kite", "laptop", "microwave", "motorcycle", "mouse",
    "orange", "parkingmeter", "pizza", "plant", "remote", "sandwich", "skateboard", "stopsign", "suitcase",
    "teddybear", "toaster", "toilet", "toybus", "toyplane", "toytrain", "toytruck", "tv", "umbrella", "vase",
    "wineglass",
)
# fmt: on
"""All 51 categories; the index of a category seeds the choice of its sequences."""

UNSEEN_CATEGORIES = (
    *("ball", "book", "couch", "frisbee", "hotdog"),
    *("kite", "remote", "sandwich", "skateboard", "suitcase"),
)
"""Categories held out for generalization tests (Zhang et al., "RelPose", ECCV 2022)."""

TRAINING_CATEGORIES = tuple(category for category in CATEGORIES if category not in UNSEEN_CATEGORIES)
"""The 41 categories of the published recipes."""

_FILE_NUMBER = slice(len("frame"), -len(".jpg"))


@dataclass(frozen=True)
class Co3dFrame:
    """A frame of a sequence; paths are relative to the root of the data set."""

    number: int
    """Number in the name of the image file, which may differ from `frame_number` of the annotations."""
    image: str
    mask: str
    depth: str
    depth_mask: str
    depth_factor: float
    """Factor on the stored depth."""
    size: Size
    """(height, width), pixels."""
    viewpoint: Mapping[str, Any]
    """R, T, focal_length, principal_point, intrinsics_format, as annotated."""


@dataclass(frozen=True)
class Selection:
    """Selected sequences of a category."""

    frames: Mapping[str, tuple[Co3dFrame, ...]]
    """Sequence name to its frames of all splits."""
    numbers: Mapping[str, Mapping[str, list[int]]]
    """Split (train, test) to sequence name to frame numbers: the content of the files selected_seqs_<split>.json."""


def select_sequences(category: Path, max_sequences: int, min_quality: float, seed: int) -> Selection:
    """Select the sequences of a category that the published recipes use.

    Of the frames that set_lists/set_lists_fewview_train.json lists for a split, those of sequences with a viewpoint
    quality above `min_quality`; of `max_sequences` or more, a random choice of that number.

    Raises:
        InputError: annotations are missing or damaged.
    """
    listed = _set_lists(category)
    quality = {entry["sequence_name"]: entry["viewpoint_quality_score"] for entry in _read(category, "sequence")}
    good = {name for name, score in quality.items() if score is not None and score > min_quality}
    chosen: dict[str, list[tuple[str, int, str]]] = {}
    for split in ("train", "test"):
        entries = listed[split]
        names = sorted({name for name, _, _ in entries} & good)
        if len(names) >= max_sequences:
            names = random.Random(seed + CATEGORIES.index(category.name)).sample(names, max_sequences)
        chosen[split] = [entry for entry in entries if entry[0] in names]
    wanted = {(name, number) for entries in chosen.values() for name, number, _ in entries}
    frames: dict[str, dict[int, Co3dFrame]] = {}
    for entry in _read(category, "frame"):
        if (entry["sequence_name"], entry["frame_number"]) in wanted:
            frame = _frame(entry)
            frames.setdefault(entry["sequence_name"], {})[frame.number] = frame
    ordered = {name: tuple(found[number] for number in sorted(found)) for name, found in sorted(frames.items())}
    return Selection(ordered, {split: _numbers(entries) for split, entries in chosen.items()})


def _set_lists(category: Path) -> dict[str, list[tuple[str, int, str]]]:
    files = sorted((category / "set_lists").glob("*fewview_train*.json"))
    if not files:
        raise InputError(f"{category / 'set_lists'}: no set_lists_fewview_train.json")
    listed: dict[str, list[tuple[str, int, str]]] = {"train": [], "test": []}
    for file in files:
        try:
            content = json.loads(file.read_text())
            for split, entries in listed.items():
                entries += [(name, number, path) for name, number, path in content[split]]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: not a set list ({type(error).__name__}: {error})") from error
    return listed


def _read(category: Path, kind: str) -> list[dict[str, Any]]:
    """Read the frame or sequence annotations, a gzipped list."""
    path = category / f"{kind}_annotations.jgz"
    try:
        with gzip.open(path) as file:
            return json.loads(file.read())
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _frame(entry: Mapping[str, Any]) -> Co3dFrame:
    height, width = entry["image"]["size"]
    image, depth = entry["image"]["path"], entry["depth"]
    return Co3dFrame(
        number=_file_number(image),
        image=image,
        mask=entry["mask"]["path"],
        depth=depth["path"],
        depth_mask=depth["mask_path"] or "",
        depth_factor=float(depth["scale_adjustment"]),
        size=(int(height), int(width)),
        viewpoint=entry["viewpoint"],
    )


def _file_number(path: str) -> int:
    return int(Path(path).name[_FILE_NUMBER])


def _numbers(entries: Sequence[tuple[str, int, str]]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for name, _, path in entries:
        numbers.setdefault(name, []).append(_file_number(path))
    return numbers


def opencv_camera(viewpoint: Mapping[str, Any], size: Size) -> tuple[Matrix, Matrix]:
    """Camera-to-world (4, 4) and intrinsics (3, 3) of an annotated viewpoint.

    PyTorch3D multiplies row vectors, x_camera = x_world R + T, with x to the left and y upwards. Its normalized device
    coordinates point the same way from the middle of the image; their unit is half the short side (ndc_isotropic) or,
    for each axis, half the image (ndc_norm_image_bounds). Its pixel centres are at half integers, ours at integers.

    Args:
        viewpoint: R (3, 3), T (3,), focal_length (2,), principal_point (2,), intrinsics_format.
        size: (height, width), pixels.

    Raises:
        BadFrameError: the intrinsics_format is unknown.
    """
    half = np.array([size[1], size[0]]) / 2
    kind = str(viewpoint.get("intrinsics_format", "ndc_norm_image_bounds")).lower()
    if kind not in ("ndc_isotropic", "ndc_norm_image_bounds"):
        raise BadFrameError(f"intrinsics_format {kind} is not known")
    unit = half if kind == "ndc_norm_image_bounds" else np.full(2, half.min())
    focal = np.asarray(viewpoint["focal_length"], np.float64) * unit
    center = half - np.asarray(viewpoint["principal_point"], np.float64) * unit - 0.5
    intrinsics = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]])
    flip = np.array([-1.0, -1.0, 1.0])
    rotation = np.asarray(viewpoint["R"], np.float64) * flip  # columns: world to camera for row vectors
    camera_to_world = np.eye(4)
    camera_to_world[:3, :3] = rotation
    camera_to_world[:3, 3] = -rotation @ (np.asarray(viewpoint["T"], np.float64) * flip)
    return camera_to_world, intrinsics
