"""Semantic classes of the vertices of a ScanNet++ mesh: raw label names to the eight classes of this project.

Source: documentation of ScanNet++; segments.json gives the segment of each vertex of mesh_aligned_0.05.ply
(segIndices), segments_anno.json groups segments into objects with a label (segGroups).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_process.errors import SceneError
from data_process.formats.scannet_labels import CLASSES, UNLABELLED

_NAMES = {
    "wall": ("wall",),
    "floor": ("floor",),
    "ceiling": ("ceiling",),
    "chair": ("chair", "office chair", "armchair", "dining chair", "folding chair", "rolling chair", "high chair"),
    "table": ("table", "coffee table", "dining table", "side table", "end table", "conference table", "round table"),
    "sofa": ("sofa", "couch", "sofa chair"),
    "bed": ("bed",),
}
"""Raw names of each class, chosen close to ScanNet's table for the NYU40 class of the same name; other names are
"other" (including desks, which NYU40 distinguishes from tables)."""

_CLASS = {name: CLASSES.index(label) for label, names in _NAMES.items() for name in names}
_NO_OBJECT = ("remove", "split")
"""Annotators' labels for segments that are no object."""


def has_annotations(scans: Path) -> bool:
    """Whether the folder ``scans`` of a scene holds both files."""
    return (scans / "segments.json").is_file() and (scans / "segments_anno.json").is_file()


def class_of(label: str) -> int:
    """Class of a raw label name; 255 for labels of no object."""
    name = label.strip().lower()
    return UNLABELLED if name in _NO_OBJECT else _CLASS.get(name, CLASSES.index("other"))


def vertex_classes(scans: Path, num_vertices: int) -> NDArray[np.uint8]:
    """(num_vertices,) classes; 255 where no object is annotated.

    Raises:
        SceneError: a file is damaged, or made for another mesh.
    """
    try:
        segments = np.asarray(json.loads((scans / "segments.json").read_text())["segIndices"], np.int64)
        groups = json.loads((scans / "segments_anno.json").read_text())["segGroups"]
        pairs = [(segment, class_of(group["label"])) for group in groups for segment in group["segments"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SceneError(f"{scans}: segments.json or segments_anno.json is damaged ({error})") from error
    if segments.shape != (num_vertices,):
        raise SceneError(f"{scans / 'segments.json'}: {len(segments)} vertices, the mesh has {num_vertices}")
    names, index = np.unique(segments, return_inverse=True)
    classes = np.full(len(names), UNLABELLED, np.uint8)
    known = {int(name): place for place, name in enumerate(names)}
    for segment, label in pairs:
        if segment in known:
            classes[known[segment]] = label
    return classes[index]
