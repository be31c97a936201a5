"""Single windows of Image-to-Points, of procedural rooms and of a folder of RGB-D scenes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from common.errors import ConfigurationError
from data_process.rooms import RoomSettings, write_scenes
from slam3r.evaluation.windows import WindowsBenchmark, WindowsSettings
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks

SIZES = {"encoder_width": 32, "encoder_depth": 1, "encoder_heads": 2}
SIZES |= {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 2}


def benchmark(**settings: object) -> WindowsBenchmark:
    torch.manual_seed(0)
    networks = Networks(ImageToPoints(**SIZES), LocalToWorld(**SIZES))
    return WindowsBenchmark(WindowsSettings(size=32, windows=2, **settings), SimpleNamespace(networks=networks))


def test_rooms_give_every_figure(tmp_path: Path) -> None:
    scored = benchmark(scenes=1, neighbours=(2, 6))
    row = scored.evaluate(*scored.scenes(), tmp_path)
    assert row["windows"] == 2
    assert {"point_error_2", "point_error_6", "depth_abs_rel_ls", "focal_error_size", "confident_half"} < set(row)
    assert row["roughness"] > 0 and 0 <= row["edge_score"] <= 1


def test_a_folder_has_its_own_scenes_and_its_depth_is_rough_itself(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, RoomSettings(frames=5, size=32), workers=0, progress=False)
    scored = benchmark(path=str(tmp_path), neighbours=(2,), stride=1)
    assert scored.scenes() == ["scene_000000", "scene_000001"]
    rows = [scored.evaluate(scene, tmp_path) for scene in scored.scenes()]
    assert rows[0] != rows[1] and "roughness" not in rows[0]


def test_neighbours_lie_on_both_sides() -> None:
    config = {"benchmark": {"neighbours": [3]}, "model": {}}
    with pytest.raises(ConfigurationError, match="neighbours must be even"):
        WindowsBenchmark.from_config(config)
