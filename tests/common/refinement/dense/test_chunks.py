"""Portions of frames on several cores: same results in the same order, and torch as it was afterwards."""

import pytest
import torch

from common.refinement.dense.chunks import frame_chunks, in_parallel, map_frames

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_chunks_cover_every_frame_once():
    for count in (1, 16, 17, 100):
        covered = [frame for part in frame_chunks(count) for frame in range(count)[part]]
        assert covered == list(range(count))


def test_results_come_in_order_and_each_item_has_one_thread(two_threads):
    results = list(in_parallel(lambda item: (item, torch.get_num_threads()), range(20), CPU))
    assert results == [(item, 1) for item in range(20)]
    assert torch.get_num_threads() == 2


def test_an_error_reaches_the_caller_and_threads_are_restored(two_threads):
    def fail(item):
        if item == 3:
            raise ValueError("frame 3")
        return item

    with pytest.raises(ValueError, match="frame 3"):
        list(in_parallel(fail, range(10), CPU))
    assert torch.get_num_threads() == 2


def test_portions_give_what_the_whole_gives(two_threads):
    values = torch.rand(50, 6, 7, requires_grad=True)
    result = map_frames(lambda a, b: a * b.mean(dim=(1, 2), keepdim=True), values, values)
    torch.testing.assert_close(result, (values * values.mean(dim=(1, 2), keepdim=True)).detach())
    assert not result.requires_grad
