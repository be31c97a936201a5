"""Two ranks train as one rank does with the doubled batch, and stay together when one of them is in trouble."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.training.checkpoint_io import read_checkpoint
from tests.support.training_runs import in_own_process, run, scalars

TWO = ("when_debug.trainer.devices=2", "when_debug.trainer.strategy=ddp_fork")
STEPS = 4
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def train(output: Path, *overrides: str) -> None:
    """Steps of a miniature I2P on rooms; ranks are forks of the calling process."""
    arguments = (
        "debug=true",
        f"when_debug.trainer.max_steps={STEPS}",
        f"when_debug.data.epoch_windows={2 * STEPS}",
        "when_debug.data.train.length=8",
        "when_debug.data.train.size=32",
        "when_debug.callbacks.pictures.every_n_steps=0",
        "when_debug.callbacks.export.every_n_steps=1000",
        "callbacks.export.dtype=float32",
    )
    run("tiny_i2p", output, *arguments, *overrides)


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "weights" / "model.safetensors")


def test_two_ranks_equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    """Exact for windows with equally many valid pixels, as in closed rooms: losses are means over a rank's pixels."""
    one, two = tmp_path / "one", tmp_path / "two"
    train(one, "when_debug.data.batch_size=2")
    assert in_own_process(train, two, *TWO) == 0
    expected = weights(one)
    for name, value in weights(two).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
    norms, truth = (list(scalars(output, "train/gradient_norm").values()) for output in (two, one))
    assert norms == pytest.approx(truth, rel=1e-4) and len(norms) == STEPS
    losses = [list(scalars(output, "val/loss").values()) for output in (two, one)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # the validation windows are shared out


def test_a_bad_loss_on_one_rank_skips_the_step_on_both(tmp_path: Path) -> None:
    spoil = ("+callbacks.spoil._target_=tests.support.training_runs.SpoilInput", "+callbacks.spoil.rank=1")
    spoilt = (*TWO, *spoil, "+callbacks.spoil.first=2", "+callbacks.spoil.last=2")
    assert in_own_process(train, tmp_path, *spoilt) == 0
    checkpoint = read_checkpoint(tmp_path / "checkpoints" / "step_00000004.ckpt")
    assert checkpoint["skipped_steps"] == {"all": 1, "in_a_row": 0}
    assert len(checkpoint["run_record"]["random_states"]) == 2
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_a_signal_to_one_rank_stops_both(tmp_path: Path) -> None:
    ask = (
        "+callbacks.ask._target_=tests.support.training_runs.SignalAt",
        "+callbacks.ask.step=2",
        "+callbacks.ask.rank=1",
    )
    assert in_own_process(train, tmp_path, *TWO, *ask, "+callbacks.ask.name=SIGTERM") == 75
    assert read_checkpoint(tmp_path / "checkpoints" / "preempted.ckpt")["global_step"] == 2
    whole = tmp_path / "whole"
    for output, resume in ((tmp_path, "auto"), (whole, "null")):
        assert in_own_process(train, output, *TWO, f"resume={resume}") == 0
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-5, atol=1e-7, msg=name)
