"""Measured depths that users bring: found by name, in metres, on the network's grid; one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import preprocess
from common.errors import InputError
from common.known import depths
from common.known.depths import DepthFolder, covering_values, to_grid

PICTURE = np.zeros((48, 64, 3), np.uint8)


def frame(name: str, index: int = 0, on_disk: bool = True) -> Frame:
    return Frame(PICTURE, index, 0.0, name, Path(name) if on_disk else None)


def write_png(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(depth.astype(np.uint16)).save(path)


@pytest.mark.parametrize(
    ("picture", "file"),
    [
        ("7.jpg", "7.png"),
        ("frame-000007.color.jpg", "frame-000007.depth.png"),
        ("frame-000007.color.jpg", "frame-000007.depth.proj.png"),
        ("scan_7_rgb.jpg", "scan_7_depth.png"),
        ("1305031452.791720.png", "1305031452.776100.png"),  # TUM RGB-D: the nearest in time
    ],
)
def test_names_as_cameras_write_them(tmp_path: Path, picture: str, file: str) -> None:
    write_png(tmp_path / file, np.full((48, 64), 1500))
    write_png(tmp_path / "1305031451.0.png", np.full((48, 64), 9))
    found = DepthFolder(tmp_path).find(frame(picture))
    assert found is not None and found == pytest.approx(1.5)
    assert DepthFolder(tmp_path).find(frame("another.jpg")) is None


def test_frames_of_a_video_go_by_number(tmp_path: Path) -> None:
    write_png(tmp_path / "000012.png", np.full((48, 64), 2000))
    found = DepthFolder(tmp_path).find(frame("walk.mp4:12", 12, on_disk=False))
    assert found is not None and found == pytest.approx(2.0)


def test_units_and_missing_values(tmp_path: Path) -> None:
    raw = np.full((48, 64), 5000)
    raw[0, :3] = [0, 65535, 10000]
    write_png(tmp_path / "a.png", raw)
    depth = DepthFolder(tmp_path, unit=1 / 5000).find(frame("a.jpg"))
    assert depth is not None
    np.testing.assert_allclose(depth[0, :4], [0, 0, 2, 1])
    values = np.full((24, 32), 2.5, np.float32)
    values[0, :3] = [np.nan, np.inf, -1]
    np.save(tmp_path / "b.npy", values)
    depth = DepthFolder(tmp_path).find(frame("b.jpg"))
    assert depth is not None
    np.testing.assert_allclose(depth[0, :4], [0, 0, 0, 2.5])


def test_bad_maps_are_one_line(tmp_path: Path) -> None:
    write_png(tmp_path / "turned.png", np.full((64, 48), 1000))
    write_png(tmp_path / "steps.png", np.full((48, 64), 5))
    Image.fromarray(PICTURE).save(tmp_path / "colour.png")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    folder = DepthFolder(tmp_path)
    for name, words in (
        ("turned", "48 x 64 pixels do not cover a picture of 64 x 48"),
        ("steps", "known.depth_unit"),
        ("colour", "kind RGB"),
        ("objects", "not a depth map"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            folder.find(frame(f"{name}.jpg"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no file for any picture"):
        folder.require_any(["x.jpg", "y.jpg"])
    with pytest.raises(InputError, match="no such folder"):
        DepthFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a.png", "a.npy"])
def test_a_map_of_absurd_size_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_png(tmp_path / "a.png", np.full((48, 64), 1000))
    np.save(tmp_path / "a.npy", np.ones((48, 64), np.float32))
    monkeypatch.setattr(depths, "_LARGEST", 48 * 64 - 1)
    with pytest.raises(InputError, match=r"not a depth map: .*(64 x 48 pixels|3072 values)"):
        depths.read_depth(tmp_path / name, 1e-3)


def test_a_slope_arrives_where_the_network_sees_it() -> None:
    """Depth that grows with x, at a finer and a coarser resolution than the grid, through resize and crop."""
    picture = np.zeros((96, 160, 3), np.uint8)
    prepared = preprocess(picture, (32, 32))
    x = (prepared.original_from_network[0, 0] * torch.arange(32) + prepared.original_from_network[0, 2]).numpy()
    for columns in (320, 160, 40):
        own = (np.arange(columns) + 0.5) * 160 / columns - 0.5
        depth = np.tile(2 + own / 100, (columns * 3 // 5, 1)).astype(np.float32)
        grid = to_grid(depth, (96, 160), prepared.original_from_network, (32, 32))
        assert (grid > 0).all()
        tolerance = max(160 / columns, 1) / 100  # a pixel of the map
        np.testing.assert_allclose(grid.numpy(), np.tile(2 + x / 100, (32, 1)), atol=tolerance)


def test_sparse_depth_stays_sparse_and_exact() -> None:
    prepared = preprocess(np.zeros((96, 96, 3), np.uint8), (32, 32))
    depth = np.zeros((96, 96), np.float32)
    depth[30, 60] = 3.0  # in network pixel (20, 10): 3 x 3 original ones each
    grid = to_grid(depth, (96, 96), prepared.original_from_network, (32, 32))
    assert grid.nonzero().tolist() == [[10, 20]] and grid[10, 20] == 3


def test_a_mask_covers_what_it_covers_in_the_picture() -> None:
    prepared = preprocess(np.zeros((96, 96, 3), np.uint8), (32, 32))
    mask = np.ones((96, 96), bool)
    mask[:48] = False
    usable = covering_values(mask, (96, 96), prepared.original_from_network, (32, 32))
    assert not usable[:16].any() and usable[16:].all()
