"""Mixtures: fixed shares, every window before any comes again, and one shape per batch."""

from collections import Counter

import pytest

from common.data.scenes.mixture import Mixture, Source
from common.data.scenes.order import BatchSizes, WindowOrder
from tests.support.processed import write_scene


class Named:
    """Items are (name, epoch, index)."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length, self.epoch = name, length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int):
        assert 0 <= index < self.length
        return self.name, self.epoch, index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def describe(self, index: int) -> str:
        return f"{self.name} {index} of epoch {self.epoch}"


def epoch_of(mixture: Mixture, epoch: int) -> list:
    mixture.set_epoch(epoch)
    return [mixture[index] for index in range(len(mixture))]


def test_shares_are_fixed_and_draws_change():
    mixture = Mixture({"a": Source(Named("a", 100), 4), "b": {"dataset": Named("b", 3), "samples_per_epoch": 2}})
    epochs = [epoch_of(mixture, epoch) for epoch in range(30)]
    assert len(mixture) == 6
    for items in epochs:
        assert Counter(name for name, _, _ in items) == {"a": 4, "b": 2}
    assert len({tuple(items) for items in epochs}) == 30
    assert epoch_of(mixture, 7) == epochs[7]
    again = Mixture([Source(Named("a", 100), 4), Source(Named("b", 3), 2)])
    assert epoch_of(again, 11) == epochs[11], "an epoch does not depend on those before it"
    assert epoch_of(Mixture([Source(Named("a", 100), 4), Source(Named("b", 3), 2)], seed=1), 11) != epochs[11]


def test_every_window_comes_once_before_any_comes_again():
    mixture = Mixture([Source(Named("a", 10), 4), Source(Named("b", 3), 7)])
    items = [item for epoch in range(10) for item in epoch_of(mixture, epoch)]
    for name, length in (("a", 10), ("b", 3)):
        drawn = [(passes, index) for which, passes, index in items if which == name]
        passes = len(drawn) // length
        assert Counter(drawn[: passes * length]) == Counter((p, i) for p in range(passes) for i in range(length))


def test_a_mixture_names_its_windows_and_refuses_nonsense():
    mixture = Mixture([Source(Named("a", 2), 2), Source(Named("b", 2), 1)])
    mixture.set_epoch(3)
    assert mixture.describe(2).startswith("b ") and mixture.describe(2).endswith("of epoch 1")
    with pytest.raises(IndexError):
        mixture[3]
    with pytest.raises(ValueError, match="samples_per_epoch=0"):
        Source(Named("a", 2), 0)
    with pytest.raises(ValueError, match="at least one source"):
        Mixture([])


def test_a_size_for_every_batch():
    order = WindowOrder(50, seed=0)
    sizes = BatchSizes([(16, 16), (16, 32), (32, 16)], order, group=4)
    drawn = [[sizes(order.index(position)) for position in range(start, start + 4)] for start in range(0, 400, 4)]
    assert all(len(set(batch)) == 1 for batch in drawn)
    assert len({batch[0] for batch in drawn}) == 3


def test_the_order_and_its_inverse():
    order = WindowOrder(7, seed=3)
    indices = [order.index(position) for position in range(21)]
    assert [order.position(index) for index in indices] == list(range(21))
    assert all(sorted(indices[7 * k : 7 * k + 7]) == list(range(7 * k, 7 * k + 7)) for k in range(3))


def test_sizes_reach_the_data_sets_of_a_mixture(tmp_path):
    from common.data.scenes.datasets.replica import Replica

    write_scene(tmp_path / "room", range(12))
    mixture = Mixture([Source(Replica(tmp_path, num_views=2, stride=1, size=32), 3)])
    mixture.set_size((16, 48))
    assert mixture[0].images.shape == (2, 3, 16, 48)
