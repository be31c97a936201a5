"""Files of the objects that words name: a table, and the Gaussians of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import atomic_folder, write_json
from uni3r.gaussians.files import save_ply
from uni3r.scene.objects import FoundObject
from uni3r.scene.scene_data import SceneData

_LONGEST_STEM = 40
"""Characters of a word in a file name; four bytes each at most."""


def write_objects(
    scene: SceneData, objects: Sequence[FoundObject], unknown_words: Sequence[str], table: Path, folder: Path
) -> list[Path]:
    """Write ``objects.json`` and one PLY for each object.

    Args:
        scene: scene of the objects.
        objects: see `uni3r.scene.objects.find_objects`.
        unknown_words: queries that the model does not know, noted in the table.
        table: path of the table.
        folder: folder for the PLY files, replaced as a whole.

    Returns:
        The table and the folder.
    """
    numbers: Counter[str] = Counter()
    entries: list[dict[str, Any]] = []
    with atomic_folder(folder) as place:
        for found in objects:
            name = "".join(sign if sign.isalnum() else "_" for sign in found.word)[:_LONGEST_STEM]
            file = f"{name}_{numbers[name.casefold()]:02d}.ply"  # some file systems know no case
            numbers[name.casefold()] += 1
            save_ply(place / file, scene.gaussians.take(found.members.to(scene.gaussians.means.device)))
            entries.append({**_entry(found), "file": f"{folder.name}/{file}"})
    unit = "that of the cameras given" if scene.poses_from == "given" else "the network's own"
    content = {"unit": unit, "unknown_words": list(unknown_words), "objects": entries}
    write_json(table, content)
    return [table, folder]


def _entry(found: FoundObject) -> dict[str, Any]:
    box = found.box
    return {
        "word": found.word,
        "confidence": round(found.confidence, 4),
        "gaussians": len(found.members),
        "center": box.center.tolist(),
        "size": box.size.tolist(),
        "axes": box.axes.tolist(),
        "corners": box.corners().tolist(),
    }
