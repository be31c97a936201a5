"""The metric that chooses the best checkpoint is checked before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from tests.support.training_runs import run

pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_unknown_metric_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"val/regresion is not measured; there are: .*val/regression_median"):
        run("tiny_i2p", tmp_path, "debug=true", "best_metric=val/regresion")
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("when_debug.data.epoch_windows=0", "nothing would be learnt"),
        ("when_debug.trainer.devices=3", "a batch of 1 on each of 3 devices: nothing would be learnt; give at least 3"),
        ("when_debug.data.batch_size=0", "batch_size must be at least 1"),
        ("when_debug.trainer.accumulate_grad_batches=0", "accumulate_grad_batches must be at least 1"),
        ("objective.optimizer.learning_rate=-1", "learning_rate"),
        ("when_debug.trainer.max_steps=nan", "trainer.max_steps: expected a finite number, got nan"),
    ],
)
def test_settings_that_would_train_nothing_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        run("tiny_i2p", tmp_path, "debug=true", override)
    assert not list(tmp_path.rglob("*.ckpt"))
