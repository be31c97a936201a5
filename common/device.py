"""Choice of device and dtype, and derived random seeds."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from common.errors import ConfigurationError

DeviceName = Literal["auto", "cuda", "mps", "cpu"]
DtypeName = Literal["auto", "float32", "bfloat16"]

_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # two of x86, one of ARM, as the Linux kernel spells them


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device called `name` (`auto`, `cuda`, `mps`, `cpu`, or with an index as in `cuda:1`).

    `auto` takes CUDA, then MPS, then the CPU. A device requested by name must exist on this machine.

    Raises:
        ConfigurationError: no such device; the message lists the available ones.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    kind = name.split(":")[0]
    if kind not in available:
        raise ConfigurationError(f"unknown device {name!r}: use auto, {', '.join(available)}")
    if not available[kind]:
        raise ConfigurationError(f"device {name!r} is not available on this machine; available: {_names(available)}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"device {name!r} is not available: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def choose_dtype(device: torch.device, name: str = "auto") -> torch.dtype:
    """Choose the dtype in which networks run on `device`; `auto` takes bfloat16 where the hardware multiplies in it.

    Raises:
        ConfigurationError: an unknown name.
    """
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in dtypes:
        raise ConfigurationError(f"unknown dtype {name!r}: use auto, {', '.join(dtypes)}")
    return dtypes[name]


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware (emulation would be slower than float32)."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(processor_flags() & _BFLOAT16_FLAGS)


@lru_cache(maxsize=1)
def processor_flags() -> frozenset[str]:
    """Instruction set names from the Linux kernel; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, []))


def derive_seed(seed: int, *keys: int) -> int:
    """A 63 bit seed for one of many independent streams, e.g. one per sample. The same on every machine."""
    digest = hashlib.sha256(repr([int(key) for key in (seed, *keys)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished what was queued, so that a clock read afterwards includes it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _names(available: dict[str, bool]) -> str:
    return ", ".join(kind for kind, here in available.items() if here)
