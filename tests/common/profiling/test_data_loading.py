"""The measurement of reading speed accounts for all of the time, and leaves nothing behind."""

import pytest

from common.data.scenes import scene_folder
from common.data.scenes.augment import ColorJitter
from common.data.scenes.datasets.replica import Replica
from common.profiling.data_loading import measure
from tests.support.processed import write_scene


def test_the_parts_add_up(tmp_path):
    write_scene(tmp_path / "room", range(30), size=(120, 160))
    before = scene_folder.read_pixels
    result = measure(Replica(tmp_path, num_views=3, size=64, jitter=ColorJitter()), windows=8, batch_size=4)
    assert scene_folder.read_pixels is before
    assert (result.windows, result.frames) == (8, 24)
    assert sum(result.parts.values()) == pytest.approx(result.seconds)
    assert set(result.parts) == {"decode", "crop and resize", "jitter", "to floats", "collate", "the rest"}
    assert "windows/s" in result.describe() and "decode" in result.describe()
