"""Cheaper steps give the same gradients, validation figures mean what they say, averages and shards fit in."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.revision import code_revision
from common.training.acceleration import compile_blocks, recompute_activations
from common.training.callbacks.run_record import random_states, restore_random_states
from common.training.checkpoint_io import read_checkpoint
from common.training.gradients import clip_gradients
from common.training.validation import WindowStatistics
from slam3r.models import ImageToPoints
from tests.support.parity import procedural_frames
from tests.support.training_runs import in_own_process, run

SIZES = {"encoder_width": 32, "encoder_depth": 2, "encoder_heads": 2}
SIZES |= {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 2}

pytestmark = pytest.mark.filterwarnings("ignore")


def gradients(model: ImageToPoints) -> dict[str, Tensor]:
    """Gradients of the mean distance that the model predicts for a window."""
    model.zero_grad()
    tokens, grid = model.encode(procedural_frames(3, 32, 32)[None])
    model(tokens, grid, 1).points.norm(dim=-1).mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


class TestAcceleration:
    def test_recomputed_activations_change_no_gradient(self) -> None:
        model = ImageToPoints(**{**SIZES, "encoder_depth": 6})
        expected = {name: value.clone() for name, value in gradients(model).items()}
        kept: list[int] = []

        def count(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            gradients(model)
        plain, names = sum(kept), list(model.state_dict())
        kept.clear()
        assert recompute_activations(model) == 10
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            for name, value in gradients(model).items():
                torch.testing.assert_close(value, expected[name], msg=name)
        assert sum(kept) < plain / 2
        assert list(model.state_dict()) == names

    def test_frozen_blocks_keep_nothing_anyway(self) -> None:
        model = ImageToPoints(**SIZES)
        model.encoder.requires_grad_(False)
        assert recompute_activations(model) == 4

    def test_compiled_blocks_keep_their_names(self) -> None:
        model = ImageToPoints(**SIZES)
        names = list(model.state_dict())
        assert compile_blocks(model) == 6
        assert list(model.state_dict()) == names


class TestClipping:
    @pytest.fixture
    def layer(self) -> nn.Linear:
        layer = nn.Linear(3, 1)
        layer.weight.grad, layer.bias.grad = torch.full((1, 3), 2.0), torch.full((1,), 2.0)
        return layer

    def test_the_norm_before_clipping_is_told(self, layer: nn.Linear) -> None:
        assert clip_gradients(layer.parameters(), None) == pytest.approx(4.0)
        assert layer.weight.grad is not None and layer.weight.grad[0, 0] == 2
        assert clip_gradients(layer.parameters(), 1.0) == pytest.approx(4.0)
        assert layer.weight.grad[0, 0] == pytest.approx(0.5, rel=1e-5)

    def test_a_gradient_that_is_not_a_number_is_seen(self, layer: nn.Linear) -> None:
        assert layer.bias.grad is not None
        layer.bias.grad[0] = torch.nan
        assert clip_gradients(layer.parameters(), 1.0).isnan()


class TestValidationFigures:
    def test_means_and_medians_per_set(self) -> None:
        statistics = WindowStatistics()
        for window, value in enumerate([1.0, 2.0, 9.0]):
            statistics.add("scannet", window, {"loss": value})
        for window, value in enumerate([2.0, 4.0]):
            statistics.add("rooms", window, {"loss": value, "other": 1.0})
        result = statistics.summarize(["scannet", "rooms"])
        assert result["scannet/loss"] == 4 and result["scannet/loss_median"] == 2
        assert result["rooms/loss"] == result["rooms/loss_median"] == 3
        assert result["loss"] == 3.5 and result["loss_median"] == 2.5  # sets count alike, whatever their size
        assert result["other"] == 1 and "scannet/other" not in result

    def test_a_window_that_comes_twice_counts_once(self) -> None:
        statistics = WindowStatistics()
        for window, value in [(0, 1.0), (1, 3.0), (1, 3.0)]:
            statistics.add("rooms", window, {"loss": value})
        assert statistics.summarize(["rooms"]) == {"loss": 2.0, "loss_median": 2.0}
        assert statistics.summarize(["rooms"]) == {}  # it starts anew


class TestRunRecord:
    def test_all_generators_go_on_where_they_were(self) -> None:
        states = random_states()
        first = random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002
        restore_random_states(states)
        assert (random.random(), float(np.random.random()), float(torch.rand(()))) == first  # noqa: NPY002

    def test_the_revision_is_that_of_the_checkout(self, root: Path) -> None:
        commit = code_revision()["commit"]
        if not (root / ".git").exists():
            assert commit is None
        else:
            assert commit is not None and len(commit.removesuffix("-dirty")) == 40


class TestOptions:
    """Options of the trainer on whole runs."""

    QUICK = ("debug=true", "when_debug.data.train.size=32", "when_debug.callbacks.pictures.every_n_steps=0")

    def test_averaged_weights_are_exported_at_the_end(self, tmp_path: Path) -> None:
        run("tiny_i2p", tmp_path, *self.QUICK, "ema_decay=0.5", "callbacks.export.dtype=float32")
        last = read_checkpoint(tmp_path / "checkpoints" / "step_00000002.ckpt")
        exported = load_file(tmp_path / "weights" / "model.safetensors")
        name = "decoder.embed.weight"
        current, average = (last[key][f"model.{name}"] for key in ("current_model_state", "state_dict"))
        assert not torch.equal(current, average)
        torch.testing.assert_close(exported[name], average)

    def test_accumulated_batches_are_one_step(self, tmp_path: Path) -> None:
        """Two batches of one window, accumulated, and one of two, where all pixels are valid."""
        one, two = tmp_path / "one", tmp_path / "two"
        common = (*self.QUICK, "callbacks.export.dtype=float32", "when_debug.data.epoch_windows=4")
        run("tiny_i2p", one, *common, "when_debug.data.train.length=4", "when_debug.data.batch_size=2")
        run("tiny_i2p", two, *common, "when_debug.data.train.length=4", "when_debug.trainer.accumulate_grad_batches=2")
        weights, expected = (load_file(output / "weights" / "model.safetensors") for output in (two, one))
        for name, value in weights.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)

    @pytest.mark.slow
    def test_sharded_training_is_the_same_training(self, tmp_path: Path) -> None:
        """FSDP with one rank (gloo): hooks, sharded optimizer, single-file checkpoint, resume, export."""
        plain, sharded = tmp_path / "plain", tmp_path / "sharded"
        common = (*self.QUICK, "callbacks.export.dtype=float32", "recompute_activations=true")
        run("tiny_i2p", plain, *common)
        fsdp = "when_debug.trainer.strategy={_target_:common.training.sharded_strategy.ShardedStrategy}"
        for steps in (1, 2):  # the strategy leaves its process group behind
            last = (f"when_debug.trainer.max_steps={steps}", "resume=auto")
            assert in_own_process(run, "tiny_i2p", sharded, *common, fsdp, *last) == 0
        weights, expected = (load_file(output / "weights" / "model.safetensors") for output in (sharded, plain))
        assert weights.keys() == expected.keys()
        for name, value in weights.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
