"""The machine: interpreter, processor, GPU, and programs outside Python."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from common.command.doctor.finding import IS_CHECKOUT, ROOT, SETUP, Finding


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
