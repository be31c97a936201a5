"""The floor plan of the house: which folders there are, who may import whom, no circles, no hidden imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.support.source_code import PACKAGES, ROOT, Import, assert_none, files, imports, modules

FORBIDDEN = {
    "common": ("slam3r", "uni3r", "data_process", "scripts"),
    "slam3r": ("uni3r", "data_process", "scripts"),
    "uni3r": ("slam3r", "data_process", "scripts"),
    "data_process": ("slam3r", "uni3r", "scripts"),
}
"""Package -> packages that it must not import."""

LEVELS: Mapping[str, Sequence[Sequence[str]]] = {
    "common": (
        ("errors", "image_size", "lazy", "paths", "processes", "ranges", "views"),
        ("configuration", "device", "files", "revision"),
        ("backbone", "checkpoints", "geometry", "meters", "progress"),
        ("rooms",),
        ("model_library", "heads", "data", "metrics", "refinement"),
        ("training", "export"),
        ("drawing", "known"),
        ("evaluation",),
        ("app", "profiling"),
        ("command",),
    ),
    "slam3r": (
        ("models",),
        ("reconstruction",),
        ("pretrained",),
        ("scene",),
        ("live", "api"),
        ("service", "app", "continuation", "evaluation", "training"),
        ("profiling",),
        ("command",),
    ),
    "uni3r": (
        ("gaussians",),
        ("models",),
        ("rasterization", "semantics"),
        ("posing", "pretrained"),
        ("scene",),
        ("api", "training"),
        ("app", "evaluation", "profiling"),
        ("command",),
    ),
    "data_process": (
        ("errors",),
        ("formats",),
        ("writing",),
        tuple(file.stem for file in (ROOT / "data_process").glob("*.py") if file.stem not in ("__init__", "errors")),
    ),
}
"""Folders and modules of each package from the ground up: what stands on one level imports only levels below it."""

ROOTS = {
    "slam3r": {"__init__", "api", "app", "pretrained"},
    "uni3r": {"__init__", "api", "app", "pretrained"},
}
"""The public face: the only modules that lie beside the folders."""

FOLDERS = {
    "common": "app app/pages backbone checkpoints checkpoints/families command command/line data/scenes data/sources "
    "drawing evaluation export geometry heads known metrics profiling refinement rooms training",
    "slam3r": "continuation evaluation live models profiling reconstruction scene service service/wire training",
    "uni3r": "evaluation gaussians models posing profiling rasterization scene semantics training",
}
MAX_MODULES = 14

EXTRAS = (
    "pycolmap",  # has no wheels for some platforms
    *("ray", "submitit"),
    *("aio_pika", "aiohttp", "evo", "fastapi", "gradio", "gsplat", "matplotlib", "msgpack", "open_clip"),
    *("prometheus_client", "rerun", "tensorboard", "torchmetrics", "trimesh", "uvicorn", "wordllama", "zstandard"),
)
"""Modules of the optional dependencies of ``pyproject.toml``: imported inside the function that needs them."""
PLATFORM = ("fcntl",)
"""Not there on every system."""
SLOW = ("av", "cv2", "open3d")
"""Take up to a second to import, which commands and help pages that do not need them should not wait for."""
EXAMINER = "common.command.doctor."
"""Looks whether packages load, so it can need none of them."""


def test_the_folders_are_there() -> None:
    wanted = [f"{package}/{folder}" for package, names in FOLDERS.items() for folder in names.split()]
    missing = [folder for folder in wanted if not (ROOT / folder / "__init__.py").is_file()]
    assert_none(missing, "folders of the house")


@pytest.mark.parametrize("package", ROOTS)
def test_the_roots_hold_the_public_face_only(package: str) -> None:
    assert {file.stem for file in (ROOT / package).glob("*.py")} == ROOTS[package]


def test_folders_stay_small() -> None:
    count: dict[str, int] = {}
    for file in files(*PACKAGES):
        if file.name != "__init__.py":
            folder = file.parent.relative_to(ROOT).as_posix()
            count[folder] = count.get(folder, 0) + 1
    offences = [f"{folder}: {number}" for folder, number in count.items() if number > MAX_MODULES]
    assert_none(offences, f"a folder holds at most {MAX_MODULES} modules")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_one_way(package: str) -> None:
    offences = {
        f"{one.place} imports {one.imported}"
        for one in imports(package)
        if one.imported.split(".")[0] in FORBIDDEN[package]
    }
    assert_none(sorted(offences), f"{package} must not import {', '.join(FORBIDDEN[package])}")


@pytest.mark.parametrize("package", LEVELS)
def test_levels_import_downwards(package: str) -> None:
    level = {name: number for number, names in enumerate(LEVELS[package]) for name in names}
    offences = set()
    for one in imports(package):
        inner, outer = one.importer.split("."), one.imported.split(".")
        if outer[0] != package or len(inner) < 2 or len(outer) < 2 or inner[1] == outer[1]:
            continue
        if unknown := {inner[1], outer[1]} - level.keys():
            offences.add(f"{one.place}: {', '.join(unknown)} is on no level")
        elif level[outer[1]] >= level[inner[1]]:
            offences.add(f"{one.place} imports {one.imported}")
    assert_none(sorted(offences), f"levels of {package}, from the ground up: {LEVELS[package]}")


def test_no_circles() -> None:
    """Between files, counting imports inside functions and those for type checkers only."""
    names = sorted(modules())
    number = {name: index for index, name in enumerate(names)}
    edges = {
        (number[one.importer], number[one.imported])
        for one in imports(*PACKAGES)
        if one.imported in number and one.imported != one.importer
    }
    rows, columns = zip(*edges, strict=True)
    graph = coo_array(([True] * len(edges), (rows, columns)), shape=(len(names), len(names)))
    count, label = connected_components(graph, connection="strong")
    circles = [[name for name, one in zip(names, label, strict=True) if one == circle] for circle in range(count)]
    offences = [" <-> ".join(circle) for circle in circles if len(circle) > 1]
    assert_none(offences, "modules import each other in a circle")


def test_late_imports_are_of_optional_extras() -> None:
    needs_extra = _modules_that_need(EXTRAS)
    offences = {
        f"{one.place} imports {one.imported}"
        for one in imports(*PACKAGES)
        if one.is_late and not _is_of(one, (*EXTRAS, *PLATFORM, *SLOW)) and one.imported not in needs_extra
        if not one.importer.startswith(EXAMINER)
    }
    assert_none(sorted(offences), "imports stand at the top, but for optional extras and their modules")


def _modules_that_need(extras: Sequence[str]) -> set[str]:
    """Modules that cannot be imported without an extra, since they or what they import need it at the top."""
    at_top = [one for one in imports(*PACKAGES) if not one.is_late]
    needing = {one.importer for one in at_top if _is_of(one, extras)}
    while more := {one.importer for one in at_top if one.imported in needing} - needing:
        needing |= more
    return needing


def _is_of(one: Import, roots: Sequence[str]) -> bool:
    return one.imported.split(".")[0] in roots
