"""Training data that is stopped in the middle of an epoch and goes on: no window lost, none twice."""

from __future__ import annotations

import pytest
import torch
from lightning import LightningModule, Trainer

from common.data.scenes.datamodule import WindowData, collate
from common.data.scenes.mixture import Mixture, Source
from common.errors import ConfigurationError
from common.views import Views

SIZE, EPOCH, BATCH = 17, 12, 2


class Counted:
    """Windows of one 4 x 4 view whose depth is the item and whose pose is the epoch."""

    name = "counted"

    def __init__(self, length: int = SIZE, labels: bool = False) -> None:
        self.length, self.epoch, self.size, self.labels = length, 0, (4, 4), labels

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Views:
        return Views(
            images=torch.zeros(1, 3, *self.size),
            depth=torch.full((1, *self.size), float(index)),
            camera_to_world=torch.full((1, 4, 4), float(self.epoch)),
            labels=torch.zeros(1, *self.size, dtype=torch.int64) if self.labels else None,
        )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def set_size(self, size: tuple[int, int]) -> None:
        self.size = size

    def describe(self, index: int) -> str:
        return f"counted {index} in epoch {self.epoch}"


def make(workers: int = 0, batch: int = BATCH, **options) -> WindowData:
    options = {"epoch_windows": EPOCH, "seed": 5, **options}
    return WindowData(Counted(), Counted(), batch_size=batch, num_workers=workers, **options)


def samples(batch: Views) -> list[int]:
    assert batch.sample is not None and batch.sample.dtype == torch.int64
    return batch.sample[:, 0].tolist()


def test_windows_of_different_lengths_cannot_share_a_batch() -> None:
    windows = [Views(torch.zeros(count, 3, 4, 4)) for count in (3, 7)]
    with pytest.raises(ConfigurationError, match=r"\[3, 3, 4, 4\], \[7, 3, 4, 4\].*data.batch_size=1"):
        collate(windows)
    assert collate(windows[1:]).images.shape == (1, 7, 3, 4, 4)


def simulate(monkeypatch, rank: int, ranks: int) -> None:
    monkeypatch.setattr("common.data.scenes.order.world", lambda: (rank, ranks))
    monkeypatch.setattr("common.data.scenes.datamodule.world", lambda: (rank, ranks))


def passes(data: WindowData, count: int) -> list[list[int]]:
    """The batches of some passes of the training loader."""
    loader = data.train_dataloader()
    return [samples(batch) for _ in range(count) for batch in loader]


def test_a_batch_says_which_windows_it_holds():
    data = make()
    batch = next(iter(data.train_dataloader()))
    index = samples(batch)[1]
    epoch, item = divmod(index, SIZE)
    assert float(batch.depth[1, 0, 0, 0]) == item and float(batch.camera_to_world[1, 0, 0, 0]) == epoch
    assert data.describe(index) == f"counted {item} in epoch {epoch}"
    assert data.describe(SIZE + 3) == "counted 3 in epoch 1"


def test_workers_do_not_change_the_order():
    expected = passes(make(0), 2)
    assert len(expected) == 12 and len({index for batch in expected for index in batch}) == 24
    assert passes(make(3), 2) == expected


def test_ranks_share_the_batches_of_one(monkeypatch):
    alone = passes(make(batch=4), 2)
    shares = []
    for rank in (0, 1):
        simulate(monkeypatch, rank, 2)
        shares.append(passes(make(batch=2), 2))
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in alone]
    assert not {i for batch in shares[0] for i in batch} & {i for batch in shares[1] for i in batch}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_restart_in_mid_epoch_gives_exactly_the_rest(monkeypatch, workers, ranks):
    """Two and a half passes, a restart, and the rest of three: what an uninterrupted run would see."""
    for rank in range(ranks):
        simulate(monkeypatch, rank, ranks)
        whole = passes(make(0), 4)
        per_pass = EPOCH // (BATCH * ranks)
        stop = 2 * per_pass + 1
        first = make(workers)
        loader = first.train_dataloader()
        seen = []
        while len(seen) < stop:
            for batch in loader:  # workers have read ahead when this stops
                seen.append(samples(batch))
                if len(seen) == stop:
                    break
        state = first.state_dict()
        assert state["position"] == 2 * EPOCH + BATCH * ranks
        second = make(workers)
        second.load_state_dict(state)
        rest = passes(second, 2)
        assert seen + rest == whole
        assert len(second.train_dataloader()) == per_pass, "a pass has its full length, for schedules"


def test_a_restart_on_other_ranks_goes_on_at_the_same_window(monkeypatch):
    alone = make(batch=4)
    whole = passes(make(batch=4), 1)
    loader = iter(alone.train_dataloader())
    next(loader)
    shares = []
    for rank in (0, 1):
        simulate(monkeypatch, rank, 2)
        half = make(batch=2)
        half.load_state_dict(alone.state_dict())
        shares.append(passes(half, 1))
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in whole[1:]]


def test_what_fills_no_batch_is_left_out_on_all_ranks_alike():
    data = make(batch=5)
    batches = passes(data, 2)
    assert [len(batch) for batch in batches] == [5] * 4
    order = data.sampler.order
    assert [order.position(index) for batch in batches for index in batch] == [*range(10), *range(12, 22)]
    assert data.state_dict()["position"] == 22
    again = make(batch=5)
    again.load_state_dict(data.state_dict())
    assert order.position(passes(again, 1)[0][0]) == 24


def test_other_data_is_noticed(caplog):
    state = make().state_dict()
    WindowData(Counted(9), Counted(), seed=6).load_state_dict(state)
    assert "windows was 17 and is now 9" in caplog.text and "seed was 5 and is now 6" in caplog.text


def test_validation_sets_by_name_are_shared_between_ranks(monkeypatch):
    data = WindowData(Counted(), {"a": Counted(9), "b": Counted(3)}, batch_size=2, validation_windows=5, num_workers=0)
    assert data.validation_names == ["a", "b"] and make().validation_names == ["validation"]
    assert data.describe(2, "b") == "counted 2 in epoch 0"
    seen = {name: set() for name in data.validation_names}
    for rank in (0, 1):
        simulate(monkeypatch, rank, 2)
        counts = []
        for name, loader in zip(data.validation_names, data.val_dataloader(), strict=True):
            windows = [index for batch in loader for index in samples(batch)]
            counts.append(len(windows))
            seen[name] |= set(windows)
        assert counts == [3, 2], "as many on every rank"
    assert seen == {"a": {0, 1, 2, 3, 4}, "b": {0, 1, 2}}


def test_batches_of_many_shapes(monkeypatch):
    sizes = [(4, 4), (4, 8), (8, 4)]
    shapes = [
        batch.images.shape[-2:] for batch in make(batch=4, resolutions=sizes, epoch_windows=48).train_dataloader()
    ]
    assert {tuple(shape) for shape in shapes} == set(sizes)
    for rank in (0, 1):
        simulate(monkeypatch, rank, 2)
        half = make(batch=2, resolutions=sizes, epoch_windows=48)
        assert [batch.images.shape[-2:] for batch in half.train_dataloader()] == shapes
    with pytest.raises(ValueError, match="cannot change its image size"):
        WindowData(list(range(3)), Counted(), resolutions=sizes)


def test_windows_without_labels_count_as_unlabelled():
    batch = collate([Counted(labels=True)[0], Counted()[1]])
    assert batch.labels[0].unique().tolist() == [0] and batch.labels[1].unique().tolist() == [255]
    assert collate([Counted()[0]]).labels is None


class Recorder(LightningModule):
    """Trains one number, and notes the windows of every step."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []
        self.fail_at = fail_at

    def training_step(self, views: Views, index: int) -> torch.Tensor:
        if len(self.seen) == self.fail_at:
            raise RuntimeError("the machine has gone")
        self.seen.append(samples(views))
        return self.weight * views.depth.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(tmp_path, module: Recorder, checkpoint=None, **options) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", default_root_dir=tmp_path, limit_val_batches=0, **quiet, **options
    )
    try:
        trainer.fit(module, make(1), ckpt_path=checkpoint)
    except RuntimeError as error:
        assert "gone" in str(error)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_trainer_that_dies_in_a_step_sees_that_step_again(tmp_path, accumulate):
    """The batch that was taken but not learned from is not lost; with accumulation, nor is its partner."""
    options = {"accumulate_grad_batches": accumulate}
    whole, dying, resumed = Recorder(), Recorder(fail_at=9), Recorder()
    fit(tmp_path, whole, **options)
    assert len(whole.seen) == 18
    trainer = fit(tmp_path, dying, **options)
    assert trainer.datamodule.state_dict()["position"] == (9 // accumulate) * accumulate * BATCH
    path = tmp_path / "dead.ckpt"
    trainer.save_checkpoint(path)
    if accumulate == 1:  # Lightning's own counts start a new accumulation only at a step
        fit(tmp_path, resumed, path, **options)
        assert dying.seen + resumed.seen == whole.seen


def test_a_mixture_trains_and_names_its_windows():
    data = WindowData(Mixture([Source(Counted(), 6), Source(Counted(4), 2)]), Counted(), 2, None, num_workers=0)
    batches = passes(data, 3)
    assert len(batches) == 12
    assert data.describe(batches[5][0]).startswith("counted ")
