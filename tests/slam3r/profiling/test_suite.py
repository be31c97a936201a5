from __future__ import annotations

import json
from pathlib import Path

import pytest

from slam3r.models import ImageToPoints
from slam3r.profiling.suite import fresh_network

SIZES = {
    "encoder_width": 32,
    "encoder_depth": 1,
    "encoder_heads": 2,
    "decoder_width": 32,
    "decoder_depth": 2,
    "decoder_heads": 2,
}


def test_random_weights_have_the_shape_of_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": "ImageToPoints", **SIZES, "stem": True}))
    as_shipped = fresh_network(ImageToPoints, str(tmp_path), SIZES)
    assert any(name.startswith("sight.stem.") for name in as_shipped.state_dict())


@pytest.mark.parametrize("source", ["owner/name", "nowhere/at/all"])
def test_weights_elsewhere_are_not_fetched_for_their_sizes(source: str) -> None:
    described = fresh_network(ImageToPoints, source, SIZES)
    assert described.config.encoder_width == 32 and not described.config.stem
