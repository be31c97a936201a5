"""``debug=true`` takes every recipe through training, validation, export and pictures, without data or weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.training.checkpoint_io import read_checkpoint
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.training_runs import EXPERIMENTS, TRAINERS, board_of, composed, run

QUICK = {"i2p_stage1", "l2w"}
MODELS = {"i2p": ImageToPoints, "retrieval": ImageToPoints, "l2w": LocalToWorld}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in EXPERIMENTS])
def test_every_experiment_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):  # neither data nor weights are named
        if variable.endswith(("_ROOT", "_WEIGHTS")):
            monkeypatch.delenv(variable)
    # All that learns must have a gradient: DDP does not search for unused parameters.
    trainer = run(name, tmp_path, "debug=true", "+callbacks.idle._target_=tests.support.training_runs.IdleParameters")
    assert trainer.global_step == 2
    assert all(value.isfinite() for value in trainer.callback_metrics.values())
    assert (tmp_path / "learning_curve.csv").read_text().count("\n") >= 2
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] in (1, 2)
    tags = board_of(tmp_path).Tags()
    assert {tag.split("/")[0] for tag in tags["images"]} >= {"train", "validation"}
    assert {"train/loss", "train/gradient_norm", "speed/windows_per_second", "memory/process_gib"} <= set(
        tags["scalars"]
    )
    for kind, model in MODELS.items():
        if kind in name and not name.startswith("uni3r"):
            model.from_pretrained(tmp_path / "weights")


def _slow_unless(quick: bool, name: str):
    return pytest.param(name, id=f"trainer={name}", marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("trainer", [_slow_unless(name in ("cpu", "ddp"), name) for name in TRAINERS])
def test_every_experiment_composes_with_every_trainer(trainer: str) -> None:
    for experiment in EXPERIMENTS:
        config = composed(experiment, f"trainer={trainer}")
        assert config.trainer._target_ == "lightning.Trainer"
        assert config.trainer.max_steps is not None
        assert (config.trainer.max_steps > 0) != (config.trainer.max_epochs is not None)
        assert config.output == f"outputs/{experiment}"
