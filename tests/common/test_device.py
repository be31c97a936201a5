from __future__ import annotations

import mmap
import time

import pytest
import torch

from common import device
from common.device import choose_device, choose_dtype, derive_seed
from common.meters import MemoryMeter, StageTimer, resident_memory

CPU = torch.device("cpu")


def test_auto_takes_what_is_here() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "auto:1"])
def test_unknown_device_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="unknown device"):
        choose_device(name)


def test_absent_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="not available on this machine"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2"}, torch.float32), ({"avx2", "avx512_bf16"}, torch.bfloat16), ({"amx_bf16"}, torch.bfloat16)],
)
def test_auto_dtype_follows_the_processor(
    flags: set[str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "processor_flags", lambda: frozenset(flags))
    assert choose_dtype(CPU) is expected


def test_dtype_by_name() -> None:
    assert choose_dtype(CPU, "float32") is torch.float32
    assert choose_dtype(CPU, "bfloat16") is torch.bfloat16
    with pytest.raises(ValueError, match="unknown dtype"):
        choose_dtype(CPU, "float16")


def test_seeds_are_portable_and_independent() -> None:
    assert derive_seed(1, 2) == derive_seed(1, 2)
    assert len({derive_seed(0), derive_seed(1), derive_seed(0, 1), derive_seed(1, 0), derive_seed(0, 0, 1)}) == 5
    assert 0 <= derive_seed(7, 3) < 2**63
    # Fixed on purpose: data made from an index must be the same everywhere and in every version.
    assert derive_seed(7, 3) == 9223334909069170063


def test_timer_adds_up_stages() -> None:
    timer = StageTimer(CPU)
    for _ in range(2):
        with timer("outer"), timer("inner"):
            time.sleep(0.01)
    assert timer.calls == {"outer": 2, "inner": 2}
    assert timer.summary()["outer"] >= timer.summary()["inner"] >= 0.02


def test_timer_counts_failed_stages() -> None:
    timer = StageTimer(CPU)
    with pytest.raises(RuntimeError), timer("stage"):
        raise RuntimeError
    assert timer.calls["stage"] == 1


def test_memory_meter_sees_a_peak_that_is_gone() -> None:
    meter = MemoryMeter(CPU)
    before = resident_memory()
    with mmap.mmap(-1, 64 * 2**20) as block:  # not from the heap, which may hold as much that is free and resident
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    peak = meter.peak()
    assert peak.process >= before + 48 * 2**20
    assert peak.device == 0
    assert "GiB resident" in str(peak)


@pytest.mark.gpu
def test_memory_meter_on_cuda() -> None:
    meter = MemoryMeter(choose_device("cuda"))
    block = torch.ones(64 * 2**20 // 4, device="cuda")
    del block
    assert meter.peak().device >= 64 * 2**20
