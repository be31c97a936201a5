"""The published recipes begin with DUSt3R, teach what was taught, and leave the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import load_file, save_file

from slam3r.models import ImageToPoints
from tests.support.parity import published_state
from tests.support.training_runs import composed, run

SIZES = {"encoder_width": 32, "encoder_depth": 2, "encoder_heads": 2}
SIZES |= {"decoder_width": 32, "decoder_depth": 4, "decoder_heads": 2}  # of debug=true

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def dust3r(tmp_path: Path) -> Path:
    """A miniature of DUSt3R's published file."""
    path = tmp_path / "dust3r.safetensors"
    save_file(published_state(ImageToPoints(**SIZES), "dust3r"), path)
    return path


@pytest.mark.parametrize(
    ("experiment", "epochs", "peak", "floor", "views"),
    [("i2p_stage1", 100, 5e-5, 5e-7, 11), ("i2p_retrieval", 50, 1e-4, 1e-6, 11), ("l2w", 200, 5e-5, 5e-7, 13)],
)
def test_hyper_parameters(experiment: str, epochs: int, peak: float, floor: float, views: int) -> None:
    config = composed(experiment)
    optimizer = instantiate(config.objective.optimizer)
    assert (optimizer.learning_rate, optimizer.min_learning_rate) == (peak, floor)
    assert (optimizer.weight_decay, list(optimizer.betas), optimizer.clip_norm) == (0.05, [0.9, 0.95], None)
    assert optimizer.warmup(epochs * 250) == epochs * 25  # a tenth, in steps of 250 an epoch
    assert config.trainer.max_epochs == epochs and config.trainer.max_steps == -1
    assert config.trainer.precision == "32-true" and config.matmul_precision == "high"
    assert (config.data.batch_size, config.data.epoch_windows, config.data.validation_windows) == (4, 8000, 1000)
    sources = config.data.train.sources
    assert {name: source.samples_per_epoch for name, source in sources.items()} == {
        "scannetpp": 4000,
        "aria": 2000,
        "co3d": 2000,
    }
    assert {source.dataset.num_views for source in sources.values()} == {views}
    assert {part.num_views for part in config.data.validation.values()} == {views}


def test_stage_1_trains_all_but_the_encoder(dust3r: Path, tmp_path: Path) -> None:
    options = ("callbacks.export.dtype=float32", "when_debug.data.train.size=32")
    run("i2p_stage1", tmp_path, "debug=true", f"when_debug.network.source={dust3r}", *options)
    before = ImageToPoints.from_pretrained(dust3r, allow_fresh=True).state_dict()
    after = load_file(tmp_path / "weights" / "model.safetensors")
    still = {name for name, value in after.items() if torch.equal(value, before[name])}
    # The fresh correlation head is drawn anew on loading, so it cannot be compared.
    assert {name for name in still if not name.startswith("correlation_head.")} == {
        name for name in after if name.startswith("encoder.")
    }
    assert "decoder.token_norm.weight" not in still  # the norm after the encoder learns, as published


def test_l2w_starts_from_dust3r_and_reads_its_tokens(dust3r: Path, tmp_path: Path) -> None:
    config = composed("l2w", "debug=true", f"dust3r={dust3r}", *(f"model.sizes.{k}={v}" for k, v in SIZES.items()))
    objective = instantiate(config.objective)
    truth = ImageToPoints.from_pretrained(dust3r, allow_fresh=True)
    for ours, theirs in ((objective.tokenizer.encoder, truth.encoder), (objective.model.decoder, truth.decoder)):
        for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert not any(parameter.requires_grad for parameter in objective.tokenizer.parameters())
    frozen = {name for name, p in objective.model.named_parameters() if not p.requires_grad}
    assert frozen == {"pointmap_embedding.void_token"}
