"""Report of the installation: what is present, slow or missing, and the command that repairs it.

    slam3r doctor            a table
    slam3r doctor --json     the same for programs
    slam3r doctor --check    only whether the packages load; one line per fault (used by setup.sh)

Needs nothing but the standard library, so that it can examine a broken installation, also when run by its path. Hydra
is left out for that reason.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

PACKED = Path(__file__).resolve().parents[1] / "shipped"
"""Configurations and weights that a wheel carries."""
IS_CHECKOUT = not PACKED.is_dir()
ROOT = Path(__file__).resolve().parents[2] if IS_CHECKOUT else PACKED
"""Folder that holds ``checkpoints``."""
SETUP = "bash scripts/setup.sh" if IS_CHECKOUT else f"{sys.executable} -m pip install --force-reinstall the wheel"
State = Literal["ok", "slow", "missing", "optional"]
COLOURS = {"ok": "green", "slow": "yellow", "missing": "red", "optional": "dim"}

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
# Weights that others publish; they are never shipped with this code.
PUBLISHED = ("siyan824/slam3r_i2p", "siyan824/slam3r_l2w")
PUBLISHED_LICENCE = "CC BY-NC-SA 4.0, research only"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    text: str
    repair: str = ""


def check_system() -> Iterator[Finding]:
    """Interpreter, processor, memory."""
    inside = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
    version = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < (3, 10):  # noqa: UP036 (run by whatever interpreter is at hand)
        yield Finding("Python", "missing", f"{version}: 3.10 or newer is needed", f"PYTHON=python3.12 {SETUP}")
    else:
        if inside or not IS_CHECKOUT:
            yield Finding("Python", "ok", version)
        else:
            hint = "source .venv/bin/activate" if (ROOT / ".venv").exists() else SETUP
            yield Finding("Python", "ok", f"{version}, not the .venv of this checkout", hint)
    flags = _processor_flags()
    wide = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16", "avx512f", "avx2") if flag in flags]
    text = f"{platform.machine()}, {os.cpu_count()} logical cores, {_memory()}, {' '.join(wide) or 'features unknown'}"
    quick = any(flag in flags for flag in ("amx_bf16", "avx512_bf16", "bf16"))
    yield Finding(
        "Processor", "ok", text + ("; bfloat16 by default" if quick else "; float32, no bfloat16 in hardware")
    )


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


def check_accelerator() -> Iterator[Finding]:
    """GPUs, and what goes slowly without one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bfloat16"
            text = f"{device.name}, {device.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, {bfloat16}"
            yield Finding(f"GPU {index}", "ok", text)
        return
    if torch.backends.mps.is_available():
        yield Finding("GPU", "ok", "Apple GPU (mps)")
        return
    text = "none: the large models and training will be slow; the tiny ones are made for this"
    has_driver = shutil.which("nvidia-smi") is not None
    if has_driver and torch.version.cuda is None:
        text = "there is an NVIDIA driver, but this torch is built without CUDA"
    repair = ".venv/bin/python -m pip install --upgrade torch torchvision" if has_driver else ""
    yield Finding("GPU", "slow", text, repair or "slam3r profile measures what slow means here")


def check_tools() -> Iterator[Finding]:
    """Programs outside Python."""
    ffmpeg = shutil.which("ffmpeg")
    text = ffmpeg or "only for videos whose codec OpenCV's own build lacks"
    yield Finding("ffmpeg", "ok" if ffmpeg else "optional", text, "" if ffmpeg else "apt-get install ffmpeg")


def check_hub() -> Iterator[Finding]:
    """Whether the model hub answers; matters only for published weights."""
    try:
        from huggingface_hub import constants
    except ImportError:
        yield Finding("Model hub", "missing", "unknown: huggingface_hub does not load", SETUP)
        return
    if constants.HF_HUB_OFFLINE:
        yield Finding("Model hub", "optional", "not asked: HF_HUB_OFFLINE is set; shipped weights need no network")
        return
    host = urlsplit(constants.ENDPOINT).hostname
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3).close()
    except HTTPError:  # it answers, if not kindly
        yield Finding("Model hub", "ok", f"{host} answers")
    except (OSError, ValueError) as error:
        yield Finding("Model hub", "optional", f"no answer from {host} ({error}); shipped weights need no network")
    else:
        yield Finding("Model hub", "ok", f"{host} answers")


def check_weights() -> Iterator[Finding]:
    """Weights in `checkpoints/` and published ones in the hub's cache, each with its licence."""
    configs = sorted((ROOT / "checkpoints").glob("**/config.json"))
    for config in configs:
        name = str(config.parent.relative_to(ROOT))
        size = sum(file.stat().st_size for file in config.parent.glob("*.safetensors"))
        try:
            metadata = json.loads(config.read_text()).get("metadata", {})
            licence = metadata.get("license", "licence not stated")
        except (OSError, ValueError, AttributeError) as error:
            yield Finding(name, "missing", f"config.json cannot be read: {error}", f"git checkout -- {name}")
            continue
        if size:
            yield Finding(name, "ok", f"{size / 1e6:.1f} MB, {licence}")
        else:
            yield Finding(name, "missing", f"no .safetensors beside config.json ({licence})", f"git checkout -- {name}")
    if not configs:
        yield Finding("checkpoints/", "missing", "no weights in this checkout", "git checkout -- checkpoints")
    cache = _hub_cache()
    for repository in PUBLISHED:
        if (cache / f"models--{repository.replace('/', '--')}" / "snapshots").is_dir():
            yield Finding(repository, "ok", f"in the hub's cache, {PUBLISHED_LICENCE}")
        else:
            yield Finding(repository, "optional", f"published weights, not on this machine ({PUBLISHED_LICENCE})")


def examine(checks: list[Callable[[], Iterator[Finding]]]) -> list[Finding]:
    """Run the checks; one that fails is reported and does not stop the others."""
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # the doctor must survive whatever ails the patient
            findings.append(Finding(check.__name__.removeprefix("check_"), "missing", f"check failed: {error}", SETUP))
    return findings


def show(findings: list[Finding]) -> None:
    """Print a table, with rich where it loads."""
    rows = [(finding.name, finding.state, finding.text, finding.repair) for finding in findings]
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        for name, state, text, repair in rows:
            print(f"{name:<24} {state:<9} {text}" + (f"   -> {repair}" if repair else ""))
        return
    table = Table("what", "state", "here", "what to do")
    for name, state, text, repair in rows:
        table.add_row(Text(name), Text(state, COLOURS[state]), Text(text), Text(repair))
    Console().print(table)


def main(arguments: Sequence[str]) -> int:
    """Examine and report; 1 when something required is missing, 2 for an argument that there is not."""
    unknown = [argument for argument in arguments if argument not in ("--check", "--json")]
    if unknown:
        is_help = unknown[0] in ("-h", "--help")
        print(
            __doc__ if is_help else f"error: no option {unknown[0]}; there are --check and --json",
            end="\n" * (not is_help),
        )
        return 0 if is_help else 2
    if "--check" in arguments:
        faults = [finding for finding in examine([check_packages]) if finding.state == "missing"]
        for fault in faults:
            print(f"{fault.name}: {fault.text}" + (f": {fault.repair}" if fault.repair else ""), file=sys.stderr)
        return 1 if faults else 0
    findings = examine(
        [check_system, check_packages, check_accelerator, check_optional, check_tools, check_hub, check_weights]
    )
    if "--json" in arguments:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        show(findings)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


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


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), []))


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    except (ValueError, OSError, AttributeError):
        return "memory unknown"


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
