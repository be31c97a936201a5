"""Packages: those that must load, and the extras."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator

from common.command.doctor.finding import IS_CHECKOUT, SETUP, Finding

REQUIRED = (
    "numpy",
    "torch",
    "torchvision",
    "av",
    "cv2",
    "open3d",
    "scipy",
    "hydra",
    "omegaconf",
    "pydantic",
    "filelock",
    "einops",
    "safetensors",
    "huggingface_hub",
    "PIL",
    "psutil",
    "rich",
    "roma",
    "tqdm",
)
DISTRIBUTIONS = {
    "aio_pika": "aio-pika",
    "cv2": "opencv-python-headless",
    "hydra": "hydra-core",
    "hydra_plugins.hydra_joblib_launcher": "hydra-joblib-launcher",
    "open_clip": "open_clip_torch",
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
    "prometheus_client": "prometheus-client",
    "pre_commit": "pre-commit",
    "pythonjsonlogger": "python-json-logger",
    "rerun": "rerun-sdk",
    "setuptools_scm": "setuptools-scm",
    "xdist": "pytest-xdist",
}
# extra of pyproject.toml -> (what goes without it, its modules)
OPTIONAL = {
    "": ("refinement; no wheels for Linux on ARM and Intel Macs", ("pycolmap",)),
    "train": ("training", ("lightning", "tensorboard", "torchmetrics")),
    "uni3r": ("rendering on CUDA by gsplat, words of the published models", ("gsplat", "open_clip")),
    "heic": ("photographs of phones (HEIC)", ("pillow_heif",)),
    "text": ("words of uni3r_tiny", ("wordllama",)),
    "app": ("the web application", ("gradio", "trimesh")),
    "viewer": ("rerun's viewer and recordings", ("rerun",)),
    "service": (
        "the live service",
        ("aio_pika", "aiormq", "aiohttp", "msgpack", "prometheus_client", "pythonjsonlogger", "trimesh", "zstandard"),
    ),
    "eval": ("evo, scenes in parallel, figures", ("evo", "hydra_plugins.hydra_joblib_launcher", "matplotlib")),
    "cluster": ("many inputs on SLURM or Ray", ("submitit", "ray")),
    "dev": (
        "tests and checks",
        (
            "gaussforge",
            "jsonschema",
            "mypy",
            "plyfile",
            "pre_commit",
            "pytest",
            "ruff",
            "setuptools_scm",
            "submitit",
            "xdist",
        ),
    ),
}


def check_packages() -> Iterator[Finding]:
    """Whether everything required really loads: a file that is there may still lack its shared library."""
    for module in REQUIRED:
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken package may raise anything
            yield _explain(module, error)
        else:
            yield Finding(module, "ok", _version(module))
    if "torch" in sys.modules and "torchvision" in sys.modules:
        yield from check_pair()


def check_pair() -> Iterator[Finding]:
    """Whether torchvision's compiled operators were built against this torch."""
    import torch
    import torchvision

    try:
        kept = torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0.5]), 0.5)
        assert kept.tolist() == [0]
    except Exception:  # a missing operator, a missing symbol, a crash in the loader: all mean the same
        yield _mismatch()


def check_optional() -> Iterator[Finding]:
    """The extras, a line each. Their packages are found, not loaded: some compile on their first import."""
    for extra, (use, modules) in OPTIONAL.items():
        name = f"extra {extra}" if extra else modules[0]
        missing = [module for module in modules if not _is_there(module)]
        if not missing:
            yield Finding(name, "ok", ", ".join(f"{_distribution(one)} {_version(one)}" for one in modules))
            continue
        packages = " ".join(map(_distribution, missing))
        is_ours = IS_CHECKOUT and extra
        repair = f"{SETUP} {extra}" if is_ours else f"{sys.executable} -m pip install {packages}"
        yield Finding(name, "optional", f"for {use}; missing: {packages}", repair)


def _explain(module: str, error: Exception) -> Finding:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return Finding(module, "missing", "not installed", SETUP)
    if module == "torchvision" and "torch" in sys.modules:
        return _mismatch()
    if "cannot open shared object file" in reason:
        return Finding(module, "missing", f"a system library is missing ({reason})", f"rm .venv/.installed; {SETUP}")
    return Finding(module, "missing", f"does not load ({reason})", f"rm -rf .venv; {SETUP}")


def _mismatch() -> Finding:
    text = f"torch {_version('torch')} and torchvision {_version('torchvision')} are not a matching pair"
    return Finding("torchvision", "missing", text, ".venv/bin/python -m pip install --upgrade torch torchvision")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of the package around it
        return False


def _distribution(module: str) -> str:
    return DISTRIBUTIONS.get(module, module)


def _version(module: str) -> str:
    loaded = getattr(sys.modules.get(module), "__version__", None)
    if loaded:
        return str(loaded)
    try:
        return importlib.metadata.version(_distribution(module))
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"
