"""Pictures that are readable, but not what they seem: twins, transparency, few bits, extreme shapes, odd names."""

import os
import resource
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from common.app.inputs import FILES, Limits, open_input
from common.data.sources import preprocess as module
from common.data.sources.cropping import crop_warning, kept_share, suggested_size
from common.data.sources.file_names import list_files, natural_key
from common.data.sources.frame_source import SourceError
from common.data.sources.image_files import FolderSource
from common.data.sources.image_list import ListSource
from common.data.sources.images import ImageReadError, is_plain_file, read_image
from common.data.sources.preprocess import preprocess


def save(path, image=None, **options):
    picture = np.random.default_rng(len(path.name)).integers(0, 256, (24, 32, 3), np.uint8) if image is None else image
    Image.fromarray(picture).save(path, **options)
    return path


def turned(path, orientation=6):
    exif = Image.Exif()
    exif[274] = orientation
    return save(path, exif=exif)


def test_other_programs_see_turned_photographs_otherwise(tmp_path):
    assert is_plain_file(save(tmp_path / "0.jpg")) and is_plain_file(turned(tmp_path / "1.jpg", 1))
    assert FolderSource(tmp_path).files_are_plain
    for orientation in (3, 6, 8):
        assert not is_plain_file(turned(tmp_path / f"{orientation}.jpg", orientation))
    assert not FolderSource(tmp_path).files_are_plain


def test_heic_is_read_with_the_extra(tmp_path):
    pytest.importorskip("pillow_heif")
    picture = np.full((64, 48, 3), (200, 80, 40), np.uint8)
    path = save(tmp_path / "IMG_1.HEIC", picture, format="HEIF")
    assert np.abs(read_image(path).astype(int) - picture).max() < 8 and not is_plain_file(path)


def test_a_photograph_and_its_original_count_once(tmp_path):
    for name in ("IMG_1.jpg", "IMG_1.HEIC", "IMG_2.PNG", "img_2.heic", "IMG_3.jpg"):
        (tmp_path / name).write_bytes(b"")
    source = FolderSource(tmp_path)
    assert [file[2] for file in source._files] == ["IMG_1.jpg", "IMG_2.PNG", "IMG_3.jpg"]
    assert source.notes == ["2 photographs lie here twice and count once (IMG_1.HEIC beside IMG_1.jpg)"]


def test_the_film_of_a_live_photograph_is_no_second_input(tmp_path):
    pictures = [save(tmp_path / f"IMG_{number}.jpg") for number in range(3)]
    films = [tmp_path / "IMG_0.MOV", tmp_path / "IMG_2.mov"]
    for film in films:
        film.touch()
    source = open_input(FILES, [str(path) for path in pictures + films], 5.0, Limits())
    assert source.length == 3 and "2 photographs lie here twice" in source.notes[0]


def test_transparent_pictures_are_told_once(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", np.zeros((8, 8, 4), np.uint8))
    source = FolderSource(tmp_path)
    assert all((frame.image == 0).all() for frame in source)
    assert source.notes[0] == "0.png is wholly transparent: it comes out black" and len(source.notes) == 2


def test_twelve_bits_in_sixteen_are_told(tmp_path):
    for number, highest in enumerate((4095, 65535, 1023)):
        save(tmp_path / f"{number}.png", np.linspace(0, highest, 64).astype(np.uint16).reshape(8, 8))
    source = FolderSource(tmp_path)
    assert len(list(source)) == 3
    assert [note.split(" it ")[0] for note in source.notes] == [
        "0.png has 16 bits per channel but uses 12:",
        "2.png has 16 bits per channel but uses 10:",
    ]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_in_sixteen_are_told_of_colours_too(tmp_path, suffix):
    for number, highest in enumerate((4095, 65535)):
        ramp = np.linspace(0, highest, 192).astype(np.uint16).reshape(8, 8, 3)
        assert cv2.imwrite(str(tmp_path / f"{number}{suffix}"), ramp)
    source = FolderSource(tmp_path)
    assert len(list(source)) == 2 and [note.split(":")[0] for note in source.notes] == [
        f"0{suffix} has 16 bits per channel but uses 12"
    ]


@pytest.mark.parametrize("shape", [(1, 20_000, 3), (20_000, 1, 3), (2, 16_000, 3)])
def test_long_pictures_are_never_enlarged_as_a_whole(shape):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prepared = preprocess(np.full(shape, 128, np.uint8))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert prepared.image.shape == (3, 224, 224)
    assert grown < (200 << 10) * (1024 if sys.platform == "darwin" else 1)


@pytest.mark.parametrize("shape", [(60, 1920, 3), (500, 300, 3), (90, 700, 3)])
def test_the_part_alone_is_the_part_of_the_whole(shape, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    whole = preprocess(image).image
    monkeypatch.setattr(module, "_LARGEST_COVER", 1.0)
    assert ((preprocess(image).image - whole).abs().max() * 127.5).item() <= 1.01


def test_what_the_crop_costs():
    assert kept_share((60, 1920), (224, 224)) == pytest.approx(1 / 32)
    assert crop_warning((1080, 1920), (224, 224)) is None and crop_warning((480, 640), (224, 224)) is None
    assert crop_warning((60, 1920), (224, 224)) == (
        "cropping keeps 3.1 % of a picture of 1920 x 60 pixels; run.size=[112,448] keeps 12 %"
    )
    assert suggested_size((1080, 1920), (224, 224)) == (160, 304)


def test_sources_tell_the_crop_once(tmp_path):
    source = FolderSource(save(tmp_path / "0.png").parent, min_frames=1)
    for original in ((60, 1920), (61, 1920), (480, 640)):
        source.note_crop(original, (224, 224))
    assert len(source.notes) == 1


def test_pipes_are_refused_and_not_waited_for(tmp_path):
    save(tmp_path / "0.png"), save(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    with pytest.raises(ImageReadError, match=r"2\.png: this is a pipe"):
        FolderSource(tmp_path).validate()
    source = FolderSource(tmp_path, on_bad_image="skip")
    source.validate()
    assert source.length == 2 and "pipe" in source.skipped[0][1]
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(SourceError, match="pipe"):
        ListSource(tmp_path / "list.txt")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
def test_names_that_are_not_utf8_are_refused(tmp_path):
    save(tmp_path / "0.png"), save(tmp_path / "1.png")
    os.rename(tmp_path / "0.png", os.path.join(os.fsencode(tmp_path), b"caf\xe9.png"))
    with pytest.raises(ImageReadError, match="not UTF-8") as caught:
        FolderSource(tmp_path).validate()
    str(caught.value).encode("utf-8")
    source = FolderSource(tmp_path, on_bad_image="skip", min_frames=1)
    source.validate()
    assert source.length == 1


def test_a_link_to_itself_is_refused_by_name(tmp_path):
    save(tmp_path / "0.png"), save(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to("2.png")
    with pytest.raises(ImageReadError, match=r"2\.png: .*symbolic links"):
        FolderSource(tmp_path).validate()


def test_a_folder_inside_itself_is_listed_once(tmp_path):
    (tmp_path / "a").mkdir()
    save(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert len(list_files(tmp_path, recursive=True)) == 1


@pytest.mark.parametrize(
    "names",
    [
        ["t_0.25.png", "t_0.5.png", "t_1.png", "t_1.5.png", "t_10.0.png"],
        ["1305031102.175.png", "1305031102.2.png", "1305031103.png"],
        ["shot 2.png", "shot 2a.png", "shot 10.png"],
        ["2024.01.31.png", "2024.02.01.png", "2024.10.01.png"],
        ["v1.2.9.png", "v1.2.10.png"],
    ],
)
def test_numbers_sort_as_numbers(names):
    assert sorted([*names[1:], names[0]], key=natural_key) == names
