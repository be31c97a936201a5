"""Manifest of a processed data set (dataset.json, scenes.json) and its verification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from common.errors import ConfigurationError
from common.files import read_json, write_json
from common.progress import ProgressReporter

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

LAYOUT_VERSION = 1
DATASET_FILE = "dataset.json"
MANIFEST_FILE = "scenes.json"
SCENE_FILE = "scene.json"
CHECKSUMS_FILE = "files.sha256"
_OUTDATED = "scenes_of_other_settings"


@dataclass(frozen=True)
class DatasetInfo:
    """Facts shared by all scenes of a data set."""

    name: str
    """Short name, that of the command."""
    licence: str
    """Terms of use of the raw data, which apply to the processed data too."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that determine the content of the output (not paths or the number of workers)."""
    depth_scale: float = 1000.0
    """Stored depth units per metre, unless a scene sets its own."""
    jpeg_quality: int = 95
    """JPEG quality of re-encoded colour images."""


def claim(output: Path, dataset: DatasetInfo, there: Set[str], free: bool) -> set[str]:
    """Record the settings in dataset.json, or check that existing scenes have the same.

    Args:
        output: folder of the data set.
        dataset: description of the data to write.
        there: names of the existing scenes.
        free: all scenes with other settings will be replaced, so dataset.json may be.

    Returns:
        Names of the scenes that are still of other settings. dataset.json lists them.

    Raises:
        ConfigurationError: there are scenes of another data set or with other settings.
    """
    path = output / DATASET_FILE
    wanted = {
        "name": dataset.name,
        "layout": LAYOUT_VERSION,
        "settings": {**dataset.settings, "jpeg_quality": dataset.jpeg_quality},
        "licence": dataset.licence,
    }
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as JSON reads them back
    outdated: set[str] = set()
    if path.exists() and there:
        found = _read(path) if not free else _read_or_none(path)
        changed = _changes(found, wanted)
        if changed and not free:
            raise ConfigurationError(
                f"{output} holds scenes of other settings ({', '.join(changed)}): "
                "choose another output folder, or overwrite=true for all of its scenes"
            )
        outdated = {*there} if changed else {*there} & {*found.get(_OUTDATED, [])}
    write_json(path, {**wanted, _OUTDATED: sorted(outdated)} if outdated else wanted)
    return outdated


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ in two versions of dataset.json."""
    changed = [key for key in ("name", "layout") if found.get(key) != wanted[key]]
    old, new = found.get("settings", {}), wanted["settings"]
    return changed + [key for key in {**old, **new} if old.get(key) != new.get(key)]


def scene_folders(output: Path) -> list[Path]:
    """Folders of the complete scenes, in the order of their names."""
    return sorted(path.parent for path in output.glob(f"[!.]*/{SCENE_FILE}"))


def write_manifest(output: Path, dataset: DatasetInfo) -> None:
    """Write scenes.json from the scene.json of every existing scene, whichever run wrote it."""
    scenes = {folder.name: _read_facts(folder / SCENE_FILE) for folder in scene_folders(output)}
    totals = {
        "scenes": len(scenes),
        "frames": sum(facts["frames"] for facts in scenes.values()),
        "dropped": sum(len(facts["dropped"]) for facts in scenes.values()),
        "bytes": sum(facts["bytes"] for facts in scenes.values()),
    }
    write_json(
        output / MANIFEST_FILE,
        {"name": dataset.name, "layout": LAYOUT_VERSION, "totals": totals, "scenes": scenes},
    )


def verify(output: Path, workers: int = 4) -> list[str]:
    """Compare a processed data set with its manifest and its checksums.

    Args:
        output: folder of the data set.
        workers: threads that read.

    Returns:
        The problems, each naming its file; empty when all is well.
    """
    output = Path(output)
    try:
        scenes = _read(output / MANIFEST_FILE)["scenes"]
    except (OSError, KeyError, TypeError, ConfigurationError):
        return [f"{output / MANIFEST_FILE}: missing or damaged; run the command again to write it"]
    present = {path.name for path in scene_folders(output)}
    problems = [f"{output / name}: not in {MANIFEST_FILE}" for name in sorted(present - scenes.keys())]
    outdated = present & {*_read_or_none(output / DATASET_FILE).get(_OUTDATED, [])}
    problems += [f"{output / name}: made with other settings than {DATASET_FILE} says" for name in sorted(outdated)]
    with ThreadPoolExecutor(max(1, workers)) as pool:  # hashing and reading release the interpreter lock
        found = pool.map(lambda name: _verify_scene(output / name, scenes[name]), scenes)
        with ProgressReporter("verify", len(scenes), "scene") as progress:
            for faults in progress.over(found):
                problems += faults
    return problems


def _verify_scene(folder: Path, facts: Mapping[str, Any]) -> list[str]:
    if not folder.is_dir():
        return [f"{folder}: missing"]
    problems = []
    try:
        if _read(folder / SCENE_FILE) != facts:
            problems.append(f"{folder / SCENE_FILE}: differs from {MANIFEST_FILE}")
    except (OSError, ConfigurationError):
        problems.append(f"{folder / SCENE_FILE}: missing or damaged")
    listing = folder / CHECKSUMS_FILE
    if not listing.is_file() or _sha256(listing) != facts.get("files_sha256"):
        return [*problems, f"{listing}: missing or altered"]
    expected = {name: checksum for checksum, name in (line.split("  ", 1) for line in listing.read_text().splitlines())}
    for name, checksum in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif _sha256(path) != checksum:
            problems.append(f"{path}: truncated or altered ({path.stat().st_size} bytes)")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    unknown = found - expected.keys() - {SCENE_FILE, CHECKSUMS_FILE}
    return problems + [f"{folder / name}: not written by this program" for name in sorted(unknown)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_facts(path: Path) -> dict[str, Any]:
    facts = _read(path)
    if not isinstance(facts, dict) or not {"frames", "dropped", "bytes"} <= facts.keys():
        raise ConfigurationError(f"{path}: not the description of a scene; remove the folder and start again")
    return facts


def _read_or_none(path: Path) -> dict[str, Any]:
    """Content of a JSON file; nothing if it is missing or damaged."""
    try:
        content = _read(path)
    except (OSError, ConfigurationError):
        return {}
    return content if isinstance(content, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON ({error})") from None
