"""A model by name, folder or description; what is missing or does not fit is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError, ConfigurationError
from uni3r.models.description import Uni3rDescription
from uni3r.models.uni3r import Uni3R
from uni3r.pretrained import find_model, load_model

SIZES = {"decoder": "multiview", "encoder_width": 16, "encoder_depth": 1, "encoder_heads": 1, "decoder_width": 16}
SIZES |= {"decoder_depth": 3, "decoder_heads": 1, "intrinsics": "add", "point_head": "linear", "dpt_width": 8}
SIZES |= {"dpt_channels": [4, 4, 4, 4], "teacher_channels": 0, "attributes": {"feature_channels": 4, "sh_degree": 0}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Uni3R(**SIZES).save_pretrained(tmp_path / "weights", dtype=torch.float16)


def test_a_folder_and_a_description(folder: Path) -> None:
    loaded = load_model(folder)
    assert loaded.network.config.attributes.feature_channels == 4
    assert not loaded.network.training and next(loaded.network.parameters()).dtype == torch.float32
    assert loaded.provenance["revision"].startswith("sha256:")
    described = load_model({"name": "mine", "weights": str(folder), "sizes": SIZES, "license": "Apache-2.0"})
    assert described.provenance["license"] == "Apache-2.0"
    assert load_model(described) is described


def test_shipped_names_describe_uni3r() -> None:
    for name in ("uni3r_tiny", "uni3r_large", "uni3r_multiview"):
        found = find_model(name)
        assert isinstance(found, Uni3rDescription) and found.name == name and found.how_to_get


def test_weights_of_another_size(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="does not hold the weights of mine: decoder_depth 3, not 4"):
        load_model({"name": "mine", "weights": str(folder), "sizes": {**SIZES, "decoder_depth": 4}})


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model mine: .*nowhere\.pth.* \(ask the author\)"):
        load_model({"name": "mine", "weights": str(tmp_path / "nowhere.pth"), "how_to_get": "ask the author"})


def test_names_that_are_none() -> None:
    with pytest.raises(
        ConfigurationError, match="no model 'uni3r_huge': known are uni3r_arbitrary, uni3r_large, uni3r_multiview"
    ):
        find_model("uni3r_huge")
    with pytest.raises(ConfigurationError, match="does not describe a Uni3R"):
        find_model("slam3r_tiny")
