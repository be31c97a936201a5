"""A run that is killed, stopped or spoilt loses nothing: what follows is what would have followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.errors import CheckpointError, InputError
from common.training.callbacks.nonfinite import TrainingDiverged
from common.training.checkpoint_io import choose_checkpoint, read_checkpoint
from tests.support.training_runs import in_own_process, run, scalars

STEPS, EPOCH = 9, 4
pytestmark = pytest.mark.filterwarnings("ignore")


def train(output: Path, *overrides: str, steps: int = STEPS) -> None:
    """Steps of a miniature I2P on procedural rooms, checkpoints every second one, validation after every fourth."""
    run(
        "tiny_i2p",
        output,
        "debug=true",
        f"when_debug.trainer.max_steps={steps}",
        f"when_debug.data.epoch_windows={EPOCH}",
        "when_debug.data.train.length=5",  # the passes of the loader and of the data do not coincide
        "when_debug.data.train.size=32",
        "when_debug.callbacks.checkpoint.every_n_train_steps=2",
        "when_debug.callbacks.pictures.every_n_steps=0",
        "when_debug.callbacks.export.every_n_steps=1000",
        "callbacks.pictures.validation=false",
        "callbacks.export.dtype=float32",
        *overrides,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The output of a run that nothing happened to."""
    output = tmp_path_factory.mktemp("whole")
    assert in_own_process(train, output) == 0
    return output


def assert_same_run(output: Path, expected: Path) -> None:
    """Same losses at the same steps, same weights, same learning curve."""
    curve, truth = scalars(output, "train/loss"), scalars(expected, "train/loss")
    assert curve.keys() == truth.keys() and len(curve) == STEPS
    assert list(curve.values()) == pytest.approx(list(truth.values()), rel=1e-6)
    weights, wanted = (load_file(folder / "weights" / "model.safetensors") for folder in (output, expected))
    for name, value in wanted.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-7, msg=name)
    rows, wanted_rows = ((folder / "learning_curve.csv").read_text().splitlines() for folder in (output, expected))
    assert [row.split(",")[0] for row in rows] == [row.split(",")[0] for row in wanted_rows]


@pytest.mark.parametrize(("killed_at", "workers"), [(7, 0), pytest.param(7, 2, marks=pytest.mark.slow)])
def test_killed_in_mid_epoch(killed_at: int, workers: int, whole: Path, tmp_path: Path) -> None:
    kill = ("+callbacks.kill._target_=tests.support.training_runs.SignalAt", f"+callbacks.kill.step={killed_at}")
    workers_ = f"when_debug.data.num_workers={workers}"
    assert in_own_process(train, tmp_path, *kill, "+callbacks.kill.name=SIGKILL", workers_) == -9
    newest = choose_checkpoint("auto", tmp_path / "checkpoints")
    assert newest is not None and read_checkpoint(newest)["global_step"] == 6  # two batches into the second epoch
    train(tmp_path, "resume=auto", workers_)
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow)])
def test_asked_to_stop(name: str, whole: Path, tmp_path: Path) -> None:
    ask = (
        "+callbacks.ask._target_=tests.support.training_runs.SignalAt",
        "+callbacks.ask.step=3",
        f"+callbacks.ask.name={name}",
    )
    assert in_own_process(train, tmp_path, *ask) == 75
    assert (tmp_path / "checkpoints" / "requeue").read_text() == "step 3\n"
    assert read_checkpoint(tmp_path / "checkpoints" / "preempted.ckpt")["global_step"] == 3
    train(tmp_path, "resume=auto")
    assert not (tmp_path / "checkpoints" / "requeue").exists()
    assert_same_run(tmp_path, whole)


def test_a_checkpoint_says_what_it_is(whole: Path) -> None:
    content = read_checkpoint(whole / "checkpoints" / "step_00000008.ckpt")
    record = content["run_record"]
    assert "max_steps: 9" in record["configuration"] and "${" not in record["configuration"]
    assert record["revision"] is None or len(record["revision"].removesuffix("-dirty")) == 40
    (states,) = record["random_states"]
    assert {"python", "numpy", "torch", "cuda"} == set(states)
    assert {"state_dict", "optimizer_states", "lr_schedulers", "WindowData"} <= set(content)
    kept = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert kept == ["best.ckpt", "step_00000006.ckpt", "step_00000008.ckpt"]


class TestDamagedCheckpoints:
    """``resume=auto`` takes the newest whole file and names those it passes over."""

    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Iterator[Path]:
        for path in (whole / "checkpoints").glob("step_*.ckpt"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        yield tmp_path

    def test_the_one_with_the_most_steps_is_taken(self, folder: Path) -> None:
        (folder / "step_00000006.ckpt").touch()
        assert choose_checkpoint("auto", folder) == folder / "step_00000008.ckpt"

    @pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
    def test_a_damaged_one_is_passed_over(self, damage: str, folder: Path, caplog) -> None:
        newest = folder / "step_00000008.ckpt"
        content = bytearray(newest.read_bytes())
        if damage == "altered":
            content[len(content) // 2] ^= 255  # somewhere in the weights: only a checksum can tell
        newest.write_bytes({"truncated": content[:-5000], "altered": content, "empty": b""}[damage])
        assert choose_checkpoint("auto", folder) == folder / "step_00000006.ckpt"
        assert str(newest) in caplog.text

    @pytest.mark.parametrize(
        "content", [b"", b"<html>", b"PK\x03\x04", bytes(5000)], ids=["empty", "page", "zip", "zeros"]
    )
    def test_a_file_damaged_in_any_way_is_passed_over(self, content: bytes, folder: Path, caplog) -> None:
        (folder / "step_00000008.ckpt").write_bytes(content)
        torch.save({"global_step": "many", "state_dict": {}}, folder / "step_00000010.ckpt")
        assert choose_checkpoint("auto", folder) == folder / "step_00000006.ckpt"
        assert "step_00000008.ckpt" in caplog.text and "step_00000010.ckpt" in caplog.text

    def test_an_unfinished_write_is_no_checkpoint(self, folder: Path) -> None:
        (folder / "step_00000008.ckpt").rename(folder / ".step_00000010.0123456789ab.tmp.ckpt")
        assert choose_checkpoint("auto", folder) == folder / "step_00000006.ckpt"

    def test_nothing_to_go_on_from(self, tmp_path: Path) -> None:
        assert choose_checkpoint("auto", tmp_path / "nowhere") is None
        assert choose_checkpoint(None, tmp_path) is None

    def test_a_file_given_by_name_must_be_whole(self, folder: Path) -> None:
        with pytest.raises(CheckpointError, match=r"no training checkpoint at .*missing"):
            choose_checkpoint(str(folder / "missing.ckpt"), folder)
        (folder / "step_00000008.ckpt").write_bytes(b"PK")
        with pytest.raises(CheckpointError, match=r"step_00000008\.ckpt is not a readable checkpoint"):
            choose_checkpoint(str(folder / "step_00000008.ckpt"), folder)


class TestOfAnotherRun:
    """A run goes on from its own checkpoints only."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        configuration = (
            "seed: 0\nmodel: {sizes: {width: 32}}\ndata: {num_workers: 1, batch: 4}\ntrainer: {max_steps: 9}\n"
        )
        for step in (2, 4):
            content = {"global_step": step, "state_dict": {}, "run_record": {"configuration": configuration}}
            torch.save(content, tmp_path / f"step_{step}.ckpt")
        return tmp_path

    @pytest.mark.parametrize(
        ("configuration", "told"),
        [
            ("seed: 1\nmodel: {sizes: {width: 32}}\ndata: {batch: 4}\n", "seed is 1, was 0"),
            ("seed: 0\nmodel: {sizes: {width: 64}}\ndata: {batch: 4}\n", "model.sizes.width is 64, was 32"),
            ("seed: 0\nmodel: {sizes: {width: 32}}\ndata: {batch: 8}\n", "data.batch is 8, was 4"),
        ],
    )
    @pytest.mark.parametrize("resume", ["auto", "by name"])
    def test_it_is_named_and_refused(self, folder: Path, configuration: str, told: str, resume: str) -> None:
        given = str(folder / "step_4.ckpt") if resume == "by name" else resume
        with pytest.raises(CheckpointError, match=rf"step_\d\.ckpt is of another run: {told}"):
            choose_checkpoint(given, folder, configuration)

    def test_what_changes_no_step_may_change(self, folder: Path) -> None:
        now = "seed: 0\nmodel: {sizes: {width: 32}}\ndata: {num_workers: 7, batch: 4}\ntrainer: {max_steps: 99}\n"
        assert choose_checkpoint("auto", folder, now) == folder / "step_4.ckpt"

    def test_starting_anew_needs_leave_and_keeps_what_was(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"2 checkpoints of an earlier run: resume=auto .* overwrite=true"):
            choose_checkpoint(None, folder, "seed: 1\n")
        assert choose_checkpoint(None, folder, "seed: 1\n", overwrite=True) is None
        assert not list(folder.glob("*.ckpt")) and len(list((folder / "earlier").glob("*.ckpt"))) == 2


class TestBadSteps:
    SPOIL = ("+callbacks.spoil._target_=tests.support.training_runs.SpoilInput", "+callbacks.spoil.first=3")

    def test_some_are_skipped_and_named(self, tmp_path: Path, caplog) -> None:
        train(tmp_path, *self.SPOIL, "+callbacks.spoil.last=4", steps=5)
        assert read_checkpoint(tmp_path / "checkpoints" / "step_00000004.ckpt")["skipped_steps"]["all"] == 2
        assert "step 3 skipped: the loss is not finite; samples: rooms/train" in caplog.text
        assert "step 5 skipped" not in caplog.text

    def test_many_in_a_row_end_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingDiverged, match=r"3 steps in a row .* at step 5 with rooms/train \d+ \(room seed"):
            train(tmp_path, *self.SPOIL, "+callbacks.spoil.last=9", "callbacks.non_finite.patience=3")
        assert not (tmp_path / "weights").exists()  # nothing is exported
