"""Image files as people have them: orientation, alpha, bit depths, palettes, damage, and the order of names."""

import json

import numpy as np
import pytest
from PIL import Image

from common.data.sources.file_names import list_files, select_names
from common.data.sources.images import ImageReadError, check_image, read_image
from tests.support.parity import find


@pytest.fixture
def picture() -> np.ndarray:
    """(40, 60, 3) uint8: smooth, so that JPEG keeps it, and different in all four corners."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, 255 - rows * 3 - columns * 2], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_lossless_formats_are_exact(picture, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path)
    check_image(path)
    assert np.array_equal(read_image(path), picture)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_are_close(picture, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path, quality=95)
    check_image(path)
    assert np.abs(read_image(path).astype(int) - picture).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_gives_the_upright_image(picture, tmp_path, orientation):
    # what a camera stores so that the viewer's correction restores the picture (TIFF tag 274)
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: np.rot90(picture, 1),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


def test_transparent_pixels_become_black_and_opaque_ones_stay(picture, tmp_path):
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:10] = 0
    alpha[10:20] = 128
    for suffix in ("png", "webp"):
        Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / f"a.{suffix}", lossless=True, exact=True)
        result = read_image(tmp_path / f"a.{suffix}")
        assert (result[:10] == 0).all()
        assert np.abs(result[10:20] - picture[10:20] * (128 / 255)).max() <= 1
        assert np.array_equal(result[20:], picture[20:])


def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path):
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), np.dstack([[[0, 0, 1], [128, 255, 255]]] * 3))


def test_sixteen_bit_colour_keeps_the_high_byte(picture, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


def test_grey_palette_and_bilevel_become_rgb(picture, tmp_path):
    grey = picture[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))
    Image.fromarray(grey > 100).save(tmp_path / "bilevel.png")
    assert np.array_equal(read_image(tmp_path / "bilevel.png")[..., 1], np.where(grey > 100, 255, 0))
    palette = Image.fromarray(picture).quantize(32)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "clear.png", transparency=int(np.asarray(palette)[0, 0]))
    assert read_image(tmp_path / "clear.png")[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.97])
def test_truncated_files_are_found_by_check_and_by_read(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    for function in (check_image, read_image):
        with pytest.raises(ImageReadError) as caught:
            function(path)
        assert caught.value.path == path
        assert str(path) in str(caught.value) and caught.value.reason


def test_jpeg_with_a_film_behind_it_is_complete(picture, tmp_path):
    path = tmp_path / "motion.jpg"
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes() + bytes(range(256)) * 1000)
    check_image(path)


def test_unreadable_things_have_a_plain_reason(tmp_path):
    (tmp_path / "text.jpg").write_text("this is no image")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    expected = {
        "text.jpg": "not an image",
        "phone.heic": "convert",
        "float.tif": "floating point",
        "no.png": "not exist",
    }
    for name, reason in expected.items():
        with pytest.raises(ImageReadError, match=reason):
            read_image(tmp_path / name)


def test_published_frame_order():
    for case in json.loads(find("sampling.json").read_text())["frame_order"].values():
        assert select_names(case["names"], case["postfix"]) == case["loaded"]


def test_order_and_choice_of_names():
    names = ["frame-10.jpg", "frame-2.JPG", "frame-1.jpeg", "Thumbs.db", "._frame-1.jpg", "notes.txt", "Depth_3.png"]
    assert select_names(names) == ["frame-1.jpeg", "frame-2.JPG", "frame-10.jpg"]
    assert select_names(["0.color.png", "0.label.png", "1.COLOR.PNG"], ".color.png") == ["0.color.png", "1.COLOR.PNG"]
    assert select_names(["kitchen.png", "Bath.png", "attic.png"]) == ["attic.png", "Bath.png", "kitchen.png"]
    assert select_names(["b/1.png", "a10/1.png", "a9/2.png"]) == ["a9/2.png", "a10/1.png", "b/1.png"]
    assert select_names(["depth/1.png", "depth/depth1.png"]) == ["depth/1.png"]
    assert select_names(["depth1.png"], exclude=None) == ["depth1.png"]
    # the whole name counts: the second day comes after the first
    assert select_names(["20240102_0900.jpg", "20240101_1200.jpg"]) == ["20240101_1200.jpg", "20240102_0900.jpg"]


def test_listing_folders(tmp_path):
    (tmp_path / "in" / "deep.png").mkdir(parents=True)
    for name in ("a.png", "in/b.png", "in/deep.png/c.png"):
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["a.png"]
    assert sorted(list_files(tmp_path, recursive=True)) == ["a.png", "in/b.png", "in/deep.png/c.png"]
