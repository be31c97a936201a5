"""Uni3R through the contract of the application, with random weights: everything that a page shows is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from common.app.contract import Cancelled, Watcher
from common.configuration import config_folder, load_yaml
from common.data.sources.open import open_source
from common.data.sources.video import VideoSource
from tests.support.tiny_scene import photos
from uni3r.app import Neighbours, Uni3RSystem
from uni3r.gaussians.files import load_ply
from uni3r.models.uni3r import Uni3R

SMALL = {"encoder_width": 48, "encoder_depth": 1, "decoder_width": 48, "decoder_depth": 4, "dpt_width": 16}
SMALL |= {"dpt_channels": [8, 8, 8, 8]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """uni3r_tiny made smaller, as a file that describes a model."""
    folder = tmp_path_factory.mktemp("model")
    config = OmegaConf.merge(
        load_yaml(config_folder() / "model" / "uni3r_tiny.yaml"),
        {"sizes": SMALL, "inference": {"size": [32, 32]}, "weights": str(folder / "weights")},
    )
    torch.manual_seed(0)
    Uni3R(**OmegaConf.to_container(config.sizes, resolve=True)).save_pretrained(folder / "weights")
    OmegaConf.save(config, folder / "small.yaml")
    return str(folder / "small.yaml")


def test_a_run_has_everything_that_the_page_shows(model: str, tmp_path: Path) -> None:
    system = Uni3RSystem(models=(model,), device="cpu", film_frames=3)
    watcher = Watcher()
    with open_source(photos(tmp_path / "photos")) as source:
        outcome = system.run(source, model, {"views": 2, "refine": False, "step": 0}, watcher)
    count = 2 * 32 * 32
    assert outcome.splats is not None
    assert outcome.cloud.points.shape == outcome.splats.scales.shape == (count, 3)
    np.testing.assert_allclose(outcome.cloud.confidence, 100 * outcome.splats.opacities)
    np.testing.assert_allclose(np.linalg.norm(outcome.splats.rotations, axis=1), 1, atol=1e-5)
    assert outcome.figures["Gaussians"] == f"{count:,}"
    assert len(outcome.strip) == len(outcome.frames) > 0
    assert outcome.write_more is not None and outcome.film is not None
    (file,) = outcome.write_more(tmp_path)
    assert load_ply(file).count == count
    with VideoSource(outcome.film(tmp_path, watcher), min_frames=1) as film:
        assert len(list(film)) == 3
    watcher.cancel()
    with pytest.raises(Cancelled):
        outcome.film(tmp_path, watcher)


def test_words_get_heat_maps_where_the_model_understands_them(model: str, tmp_path: Path) -> None:
    pytest.importorskip("wordllama", reason="comes with the extra text")
    with open_source(photos(tmp_path / "photos")) as source:
        outcome = Uni3RSystem().run(source, model, {"views": 1, "refine": False, "step": 0}, Watcher())
    if outcome.search is None:
        pytest.skip("; ".join(outcome.warnings))
    maps = outcome.search(["chair", "floor"])
    assert [one.caption.split()[0] for one in maps] == ["chair", "floor"] and maps[0].image.shape == (32, 32, 3)
    assert outcome.legend and "segmentation" in outcome.strip[0].caption


@pytest.mark.parametrize(
    ("count", "step", "expected"),
    [(3, 2, [1, 3, 5]), (3, 0, list(range(8))), (3, 9, [0, 3, 6]), (9, 2, list(range(8))), (1, 2, [3])],
)
def test_views_stand_side_by_side_in_the_middle(count: int, step: int, expected: list[int], tmp_path: Path) -> None:
    with open_source(photos(tmp_path / "photos", 8)) as source:
        chosen = Neighbours(source, count, step)
        assert [frame.index for frame in chosen] == expected and chosen.length == len(expected)
