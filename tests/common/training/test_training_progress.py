"""Training with its output in a file says how far it is."""

from functools import partial
from types import SimpleNamespace

import pytest

from common.command import train as command
from common.training.callbacks.progress import TrainingProgress
from common.training.callbacks.step_bar import StepBar
from tests.support.training_runs import composed

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_redirected_run_writes_steps_and_loss(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "TrainingProgress", partial(TrainingProgress, interval=0.01))
    command.train(composed("tiny_i2p", f"output={tmp_path}", "debug=true", "threads=1"))
    written = capsys.readouterr()
    assert "train: 0 of 2 steps (0 %), " in written.err
    assert "train with " in written.err and "regression" in written.err and "1 of 2 steps (50 %)" in written.err
    assert "\r" not in written.out + written.err


def test_a_run_without_a_bar_is_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "TrainingProgress", partial(TrainingProgress, interval=0.01))
    quiet = "trainer.enable_progress_bar=false"
    command.train(composed("tiny_i2p", f"output={tmp_path}", "debug=true", "threads=1", quiet))
    assert "of 2 steps" not in capsys.readouterr().err


@pytest.mark.parametrize(("max_epochs", "label"), [(-1, "Epoch 3"), (None, "Epoch 3"), (10, "Epoch 3/9")])
def test_the_bar_counts_only_epochs_that_there_are(max_epochs, label):
    bar = StepBar()
    bar._trainer = SimpleNamespace(max_epochs=max_epochs)
    assert bar._get_train_description(3).strip() == label
