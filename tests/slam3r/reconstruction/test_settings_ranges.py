"""A value outside of its range is refused where it stands, with its name."""

from __future__ import annotations

from typing import Any

import pytest

from common.configuration import to_dataclass
from common.data.scenes.datamodule import WindowData
from common.errors import ConfigurationError
from common.training.optim import OptimizerConfig
from common.training.settings import TrainSettings
from slam3r.live.settings import MapSettings, StreamingSettings
from slam3r.reconstruction.settings import ReconstructionSettings
from uni3r.scene.settings import FlightSettings

REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (ReconstructionSettings, {"stride_min": 5, "stride_max": 4}, "stride_max"),
    (ReconstructionSettings, {"stride_max": 0}, "stride_max"),
    (ReconstructionSettings, {"stride_search_frames": 0}, "stride_search_frames"),
    (ReconstructionSettings, {"look_ahead": -1}, "look_ahead"),
    (ReconstructionSettings, {"buffer_size": -1}, "buffer_size"),
    (ReconstructionSettings, {"memory_chunk": 0}, "memory_chunk"),
    (ReconstructionSettings, {"focal_frames": 0}, "focal_frames"),
    (ReconstructionSettings, {"min_frames_per_round": 0}, "min_frames_per_round"),
    (ReconstructionSettings, {"retrieval_queries": 0}, "retrieval_queries"),
    (ReconstructionSettings, {"seed": -1}, "seed"),
    (ReconstructionSettings, {"weak_confidence": float("nan")}, "weak_confidence"),
    (MapSettings, {"max_points": 10**12}, "max_points"),
    (StreamingSettings, {"remembered_segments": -1}, "remembered_segments"),
    (FlightSettings, {"fps": 1e9}, "fps"),
    (FlightSettings, {"circles": float("inf")}, "circles"),
    (TrainSettings, {"output": "a", "seed": -1}, "seed"),
    (TrainSettings, {"output": "a", "threads": 0}, "threads"),
    (OptimizerConfig, {"learning_rate": -1e-4}, "learning_rate"),
    (OptimizerConfig, {"learning_rate": 1e-4, "min_learning_rate": 1e-3}, "min_learning_rate"),
    (OptimizerConfig, {"warmup_share": 1.5}, "warm-up"),
    (OptimizerConfig, {"clip_norm": 0.0}, "clip_norm"),
]


@pytest.mark.parametrize(("kind", "values", "told"), REFUSED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_out_of_range(kind: type, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        to_dataclass(values, kind)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"epoch_windows": 3}, "nothing would be learnt"),
        ({"num_workers": -1}, "num_w"),
    ],
)
def test_data_that_trains_nothing(values: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        WindowData([0] * 9, [0] * 9, **values)
