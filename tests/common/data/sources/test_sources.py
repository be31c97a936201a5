"""Folders, patterns, lists, videos and cameras as people give them, good and bad."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from common.command.sources import SOURCES
from common.data.sources.camera import CameraSource
from common.data.sources.frame_source import SourceError
from common.data.sources.image_files import FolderSource, GlobSource
from common.data.sources.image_list import ListSource
from common.data.sources.images import ImageReadError
from common.data.sources.open import source_from_config
from common.data.sources.video import VideoSource


def write_image(path: Path, value: int, size: tuple[int, int] = (32, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve numbered images (grey = 10 x number) of two sizes, among other files."""
    for number in range(12):
        write_image(tmp_path / f"photo_{number}.png", number * 10, (32, 48) if number % 2 else (50, 40))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    write_image(tmp_path / "depth_3.png", 0)
    write_image(tmp_path / "sub" / "photo_99.png", 0)
    return tmp_path


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """40 frames at 20 per second; the red value of frame k is 6 k."""
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), (0, 0, number * 6), np.uint8))
    writer.release()
    return path


def numbers(source) -> list[int]:
    return [frame.index for frame in source]


def test_folder_in_natural_order_with_mixed_sizes(folder):
    source = FolderSource(folder, fps=10)
    source.validate()
    frames = list(source)
    assert source.length == len(source) == len(frames) == 12
    assert [frame.image[0, 0, 0] for frame in frames] == [number * 10 for number in range(12)]
    assert frames[10].name == "photo_10.png" and frames[10].index == 10 and frames[10].timestamp == 1.0
    assert frames[0].image.shape == (50, 40, 3) and frames[1].image.shape == (32, 48, 3)
    assert source.skipped == [] and len(list(source)) == 12, "a source can be read again"


def test_every_nth_keeps_numbers_and_times(folder):
    frames = list(FolderSource(str(folder), every=5, fps=10))
    assert [(frame.index, frame.timestamp) for frame in frames] == [(0, 0.0), (5, 0.5), (10, 1.0)]


def test_suffix_exclusion_and_folders_inside(folder):
    for number in (2, 10):
        write_image(folder / f"frame-{number}.color.png", number)
    assert [frame.name for frame in FolderSource(folder, ".color.png")] == ["frame-2.color.png", "frame-10.color.png"]
    assert len(FolderSource(folder, exclude=None)) == 15
    assert "sub/photo_99.png" in [frame.name for frame in FolderSource(folder, recursive=True)]


def test_folder_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        FolderSource(tmp_path / "nowhere")
    (tmp_path / "film.mp4").touch()
    with pytest.raises(SourceError, match="source=video"):
        FolderSource(tmp_path / "film.mp4")
    with pytest.raises(SourceError, match=r"\.jpg \.jpeg \.png.*there are: 1 \.mp4"):
        FolderSource(tmp_path)
    write_image(tmp_path / "0.png", 0)
    with pytest.raises(SourceError, match=r"ending in \.color\.png"):
        FolderSource(tmp_path, ".color.png")
    with pytest.raises(SourceError, match="only one image"):
        FolderSource(tmp_path)
    assert len(FolderSource(tmp_path, min_frames=1)) == 1
    write_image(tmp_path / "1.png", 0)
    with pytest.raises(SourceError, match=r"only one image \(every 2 of 2\)"):
        FolderSource(tmp_path, every=2)
    for settings in ({"every": 0}, {"fps": 0}, {"on_bad_image": "ignore"}):
        with pytest.raises(ValueError):
            FolderSource(tmp_path, **settings)


def break_image(path: Path, kept: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])


@pytest.mark.parametrize("checked", [True, False])
def test_truncated_jpeg_is_an_error_or_skipped(tmp_path, checked):
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg")
    break_image(tmp_path / "2.jpg")
    source = FolderSource(tmp_path)
    with pytest.raises(ImageReadError, match=r"2\.jpg"):
        source.validate() if checked else list(source)
    source = FolderSource(tmp_path, on_bad_image="skip")
    if checked:
        source.validate()
        assert source.length == 3
    assert numbers(source) == numbers(source) == [0, 1, 3]
    assert [path for path, _ in source.skipped] == [str(tmp_path / "2.jpg")]
    break_image(tmp_path / "0.jpg"), break_image(tmp_path / "1.jpg")
    with pytest.raises(SourceError, match=r"only one image readable.*skipped 3"):
        source.validate() if checked else list(source)


def test_glob(folder, tmp_path):
    assert [frame.name[-11:] for frame in GlobSource(f"{folder}/photo_[19]*.png")] == [
        "photo_1.png", "photo_9.png", "hoto_10.png", "hoto_11.png"
    ]  # fmt: skip
    assert len(GlobSource(f"{folder}/**/*", every=2)) == 7
    with pytest.raises(SourceError, match="no images found"):
        GlobSource(f"{folder}/*.jpg")


def test_list_of_files(folder):
    listing = folder / "list.txt"
    listing.write_text(f"# my photos\nphoto_3.png\n\n{folder}/photo_1.png\nsub/photo_99.png\r\ndepth_3.png\n")
    source = ListSource(listing)
    source.validate()
    assert [frame.image[0, 0, 0] for frame in source] == [30, 10, 0, 0]
    listing.write_text("photo_3.png\nphoto_33.png\n")
    with pytest.raises(ImageReadError, match=r"photo_33\.png: the file does not exist"):
        ListSource(listing).validate()
    for broken in (folder / "no.txt", folder / "photo_3.png"):
        with pytest.raises(SourceError, match="cannot be read"):
            ListSource(broken)


def test_list_with_times(folder):
    listing = folder / "rgb.txt"
    listing.write_text("# timestamp filename\n1305031102.175 photo_1.png\n1305031102.211 photo_2.png\n")
    assert [frame.timestamp for frame in ListSource(listing, timestamps=True)] == [1305031102.175, 1305031102.211]
    listing.write_text("2.0 photo_1.png\n1.0 photo_2.png\n")
    with pytest.raises(SourceError, match="increase"):
        ListSource(listing, timestamps=True)
    listing.write_text("photo_1.png\nphoto_2.png\n")
    with pytest.raises(SourceError, match="seconds name"):
        ListSource(listing, timestamps=True)


def test_video_frames_times_and_colours(video):
    source = VideoSource(video)
    source.validate()
    frames = list(source)
    assert source.length == len(frames) == 40 and source.skipped == []
    for number, frame in enumerate(frames):
        assert frame.index == number and abs(frame.timestamp - number / 20) < 1e-3
        assert abs(int(frame.image[20, 20, 0]) - 6 * number) < 12 and frame.image[20, 20, 2] < 12, "RGB, not BGR"
    assert frames[7].name == "film.mp4:7" and frames[7].image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every": 7}, list(range(0, 40, 7))),
        ({"start": 0.5, "end": 1.0}, list(range(10, 20))),
        ({"start": 1.5, "every": 4}, [30, 34, 38]),
        ({"fps": 5}, list(range(0, 40, 4))),
        ({"fps": 5, "start": 0.3, "end": 1.2}, [6, 10, 14, 18, 22]),
        ({"fps": 15}, [number for number in range(40) if number % 4 != 2]),
        ({"fps": 60}, list(range(40))),
    ],
)
def test_choice_of_video_frames(video, settings, expected):
    source = VideoSource(video, **settings)
    assert numbers(source) == expected
    assert abs((source.length or 0) - len(expected)) <= 1


def test_video_mistakes_are_told_at_once(video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for path, reason in (
        (tmp_path / "no.mp4", "not exist"),
        (tmp_path, "source=folder"),
        (tmp_path / "text.mp4", "not a"),
    ):
        with pytest.raises(SourceError, match=reason):
            VideoSource(path)
    with pytest.raises(SourceError, match=r"lasts 2\.0 s"):
        VideoSource(video, start=3.0)
    for settings in ({"every": 0}, {"fps": -1}, {"every": 2, "fps": 3}, {"start": 2, "end": 1}):
        with pytest.raises(ValueError):
            VideoSource(video, **settings)
    with pytest.raises(SourceError, match="1 frame"):
        list(VideoSource(video, end=0.05))


def test_video_that_ends_early_gives_what_it_has_and_says_so(tmp_path):
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(40):
        writer.write(noise.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = VideoSource(path)
    source.validate()
    assert 5 < len(list(source)) < 25
    if source.stated_frames == 40:
        assert "40 frames" in source.skipped[0][1]


def test_rotated_phone_video_is_upright(video, tmp_path):
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # of a version 0 track header
    turned = [0, 1 << 16, 0, -1 << 16 & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    assert next(iter(VideoSource(path))).image.shape == (64, 48, 3)


def test_camera_from_a_network_stream(video):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(video.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:secret@127.0.0.1:{server.server_port}/film.mp4"
        with CameraSource(url, max_frames=5, every=2) as source:
            source.validate()
            frames = list(source)
        assert source.length is None and [frame.index for frame in frames] == [0, 2, 4, 6, 8]
        times = [frame.timestamp for frame in frames]
        assert times[0] == 0 and times == sorted(set(times))
        assert "secret" not in frames[0].name and frames[0].name.endswith("film.mp4:0")
        source = CameraSource(url)
        assert len(list(source)) == 40 and "ended after 40" in source.skipped[0][1]
        server.shutdown()


def test_missing_camera_is_told_at_once():
    with pytest.raises(SourceError, match=r"cannot open rtsp://127\.0\.0\.1:1/x"):
        CameraSource("rtsp://me:secret@127.0.0.1:1/x", open_timeout=1).validate()
    with pytest.raises(SourceError, match="cannot open camera 97"):
        list(CameraSource(97))
    with pytest.raises(ValueError):
        CameraSource(0, max_frames=0)


def test_configurations_build_every_kind(folder, video):
    listing = folder / "list.txt"
    listing.write_text("photo_1.png\nphoto_2.png\n")
    inputs = {
        "folder": {"path": str(folder)},
        "glob": {"pattern": f"{folder}/photo*"},
        "list": {"path": str(listing)},
        "video": {"path": str(video)},
        "camera": {},
    }
    lengths = {}
    for name, values in inputs.items():
        lengths[name] = source_from_config(
            {"_target_": f"{SOURCES[name].__module__}.{SOURCES[name].__name__}", **values}
        ).length
    assert lengths == {"folder": 12, "glob": 12, "list": 2, "video": 40, "camera": None}
