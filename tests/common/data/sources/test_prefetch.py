"""Reading ahead in a thread."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.sources.image_files import FolderSource
from common.data.sources.images import ImageReadError
from common.data.sources.prefetch import Prefetcher, prefetch


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve numbered images (grey = 10 x number) of two sizes."""
    for number in range(12):
        shape = (32, 48, 3) if number % 2 else (50, 40, 3)
        Image.fromarray(np.full(shape, number * 10, np.uint8)).save(tmp_path / f"photo_{number}.png")
    return tmp_path


def test_prefetch_gives_frames_with_network_images_in_order(folder):
    with prefetch(FolderSource(folder), size=(64, 64), capacity=2) as frames:
        results = list(frames)
    assert [frame.index for frame, _ in results] == list(range(12))
    for frame, network in results:
        assert network.image.shape == (3, 64, 64) and network.original_size == frame.image.shape[:2]
        assert abs(float(network.image.mean()) - (frame.index * 10 / 127.5 - 1)) < 1e-3
    assert next(frames, None) is None


def test_prefetch_raises_errors_after_the_items_before(folder):
    (folder / "photo_3.png").write_bytes(b"broken")
    with pytest.raises(ZeroDivisionError):
        list(Prefetcher(FolderSource(folder), lambda frame: 1 // 0))
    indices = []
    with pytest.raises(ImageReadError, match="photo_3"):
        for frame, _ in prefetch(FolderSource(folder)):
            indices.append(frame.index)
    assert indices == [0, 1, 2]


def test_prefetch_is_bounded_and_stops_when_closed():
    made, closed = [], threading.Event()

    def endless():
        try:
            while True:
                made.append(len(made))
                yield made[-1]
        finally:
            closed.set()

    with Prefetcher(endless(), lambda value: value, capacity=3) as items:
        assert next(items) == 0 and next(items) == 1
        time.sleep(0.1)
        assert len(made) <= 6
        thread = items._thread
    assert not thread.is_alive() and closed.is_set()
    assert next(items, None) is None
    items.close()


def test_prefetch_can_drop_what_is_late():
    done = threading.Event()

    def live():
        yield from range(50)
        done.set()

    with Prefetcher(live(), lambda value: value, capacity=3, drop_oldest=True) as items:
        assert done.wait(5)
        assert list(items) == [47, 48, 49] and items.dropped == 47
