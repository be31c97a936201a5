"""The speed benchmark: its operation counts are right, and a quick run writes every figure. No test looks at time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.backbone import Encoder, MultiviewDecoder, PatchGrid
from common.profiling.flops import decoder_flops, encoder_flops
from common.profiling.report import SpeedRow, to_table
from common.profiling.timing import Measurement, ProductProbe, measure, product_peak
from slam3r.profiling.stages import synthetic_frames
from tests.support.paths import ROOT

GRID = PatchGrid(3, 4)
TINY = {key: value for part in ("encoder", "decoder") for key, value in ((f"{part}_width", 32), (f"{part}_depth", 2))}


def counted(function) -> int:
    """Operations as torch counts them; attention written out, as it does not know the processor's fused kernel."""
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_encoder_operations() -> None:
    encoder = Encoder(width=64, depth=3, num_heads=2)
    images = torch.randn(5, 3, 48, 64)
    assert encoder_flops(encoder, 5, GRID.num_tokens) == pytest.approx(counted(lambda: encoder(images)), rel=0.02)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"want_sources": False}, {"want_references": False, "num_layers": 2}])
@pytest.mark.parametrize("shared_sources", [False, True])
def test_decoder_operations(batch: int, options: dict, shared_sources: bool) -> None:
    decoder = MultiviewDecoder(encoder_width=48, width=64, depth=3, num_heads=2)
    references, sources = torch.randn(batch, 2, 12, 48), torch.randn(1 if shared_sources else batch, 4, 12, 48)
    expected = counted(lambda: decoder(references, sources, GRID, **options))
    formula = decoder_flops(decoder, 2, 4, GRID.num_tokens, batch, shared_sources=shared_sources, **options)
    assert formula == pytest.approx(expected, rel=0.02)


@torch.inference_mode()
def test_shared_sources_give_what_repeated_sources_give() -> None:
    decoder = MultiviewDecoder(encoder_width=48, width=64, depth=3, num_heads=2)
    queries, candidates = torch.randn(3, 1, 12, 48), torch.randn(1, 5, 12, 48)
    shared = decoder(queries, candidates, GRID)
    repeated = decoder(queries, candidates.repeat(3, 1, 1, 1), GRID)
    torch.testing.assert_close(shared.sources[-1], repeated.sources[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared.references[-1], repeated.references[-1], rtol=1e-4, atol=1e-5)


def test_chunks_for_the_cache_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference on a processor works on a few tokens at a time; training works on all."""
    decoder = MultiviewDecoder(encoder_width=48, width=64, depth=2, num_heads=2)
    references, sources = torch.randn(3, 2, 12, 48), torch.randn(3, 4, 12, 48)
    at_once = decoder(references, sources, GRID)
    for tokens in (1, 30, 100):
        monkeypatch.setattr("common.backbone.attention.CACHED_TOKENS", tokens)
        with torch.inference_mode():
            chunked = decoder(references, sources, GRID)
        torch.testing.assert_close(chunked.references[-1], at_once.references[-1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(chunked.sources[-1], at_once.sources[-1], rtol=1e-4, atol=1e-5)


def test_measuring() -> None:
    calls: list[int] = []
    run = measure(lambda: calls.append(1), torch.device("cpu"), repeats=4, warm_up=2)
    assert (len(calls), run.repeats) == (6, 4)
    assert run.best_seconds <= run.seconds and run.peak_memory > 0
    peak = product_peak(torch.float32, torch.device("cpu"), [(8, 16, 4), (16, 16, 16)], least_seconds=0)
    assert peak.flops == max(peak.by_shape.values()) and len(peak.by_shape) == 2


def test_every_run_is_compared_with_the_peak_directly_before_it() -> None:
    events: list[str] = []
    speeds = iter([100.0, 400.0, 200.0])

    def peak() -> float:
        events.append("peak")
        return next(speeds)

    run = measure(lambda: events.append("run"), torch.device("cpu"), repeats=3, peak=peak)
    assert events == ["run", *["peak", "run"] * 3]  # one to warm up
    assert run.peaks == (100, 400, 200)
    shares = Measurement(1, 1, 3, 0, all_seconds=(2.0, 0.5, 1.0), peaks=run.peaks).shares_of_peak(100)
    assert shares == [0.5, 0.5, 0.5]  # the machine changed its speed, not the stage its share
    assert ProductProbe(torch.float32, torch.device("cpu"), (8, 16, 4))() > 0


def test_frames_continue_where_the_last_ones_ended() -> None:
    whole = synthetic_frames(0, 6, 32)
    assert whole.shape == (6, 3, 32, 32) and whole.abs().max() <= 1
    assert torch.equal(whole[4:], synthetic_frames(4, 2, 32))
    assert not torch.equal(whole[0], whole[1])


def test_a_row_without_figures_is_a_table_row() -> None:
    assert to_table([SpeedRow("", "float32", "nothing")], "empty").row_count == 1


def test_a_quick_run_writes_every_figure(tmp_path: Path) -> None:
    output = tmp_path / "speed" / "benchmark.json"
    small = [f"models.tiny.sizes.{key}={value}" for key, value in TINY.items()]
    heads = ["models.tiny.sizes.encoder_heads=2", "models.tiny.sizes.decoder_heads=2"]
    command = [sys.executable, str(ROOT / "scripts" / "profile_speed.py"), "quick=true", "sizes=[tiny]", "device=cpu"]
    subprocess.run([*command, *small, *heads, "threads=1", f"output={output}"], check=True, cwd=tmp_path)
    result = json.loads(output.read_text())
    assert result["machine"]["threads"] == 1 and result["machine"]["torch"] == torch.__version__
    rows = result["rows"]
    for dtype in ("float32", "bfloat16"):
        stages = [row["stage"] for row in rows if row["dtype"] == dtype]
        for kind in ("peak", "encode", "I2P", "retrieval", "L2W", "pipeline", "from frame 14", "from frame 20"):
            assert any(stage.startswith(kind) for stage in stages), (dtype, kind)
    counted = [row["stage"] for row in rows if not row["dtype"]]
    assert counted == ["operations a frame, default, 14 frames", "operations a frame, fast, 14 frames"]
    for row in rows:
        if row["flops"] is not None and row["stage"] not in counted:
            assert row["seconds"] > 0 and row["share_of_peak"] > 0 and row["peak_memory"] > 0
        if row["stage"].startswith(("encode", "I2P window", "L2W 2", "pipeline", "from frame")):
            assert row["frames_per_second"] > 0
    errors = [row["details"] for row in rows if "error" in row["stage"]]
    assert len(errors) == 2 and all(0 < row["median_point_error"] < 0.5 for row in errors)
    assert list(tmp_path.iterdir()) == [output.parent] and list(output.parent.iterdir()) == [output]
