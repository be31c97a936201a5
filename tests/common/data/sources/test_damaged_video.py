"""Films as they come from cards and networks: damaged, cut, at a varying rate, with odd names."""

from fractions import Fraction

import numpy as np
import pytest

from common.data.sources.frame_source import SourceError
from common.data.sources.open import open_source
from common.data.sources.video import VideoSource
from data_process.errors import BadFrameError
from data_process.formats.video_frames import VideoFrames
from tests.support.videos import damage_packets, write_video

STEADY = range(0, 80 * 40, 40)
H264 = {"bf": "0", "preset": "ultrafast"}


@pytest.mark.parametrize(
    ("damaged", "note"),
    [
        ([10, 30, 50], "3 of 80 frames damaged and left out (number 10, 30, 50)"),
        ([1], "1 of 80 frames damaged and left out (number 1)"),
        ([79], "1 of 80 frames damaged and left out (number 79)"),
    ],
)
def test_a_damaged_packet_costs_its_own_frame_only(tmp_path, damaged, note):
    path = damage_packets(write_video(tmp_path / "film.mp4", STEADY, **H264), damaged)
    source = VideoSource(path)
    source.validate()
    assert [frame.index for frame in source] == [number for number in range(80) if number not in damaged]
    assert source.skipped == [("film.mp4", note)]


def test_a_lost_key_frame_costs_its_group(tmp_path):
    path = damage_packets(write_video(tmp_path / "film.mp4", STEADY, **H264), [0])
    frames = list(VideoSource(path))
    assert [frame.index for frame in frames] == list(range(8, 80))
    assert frames[0].timestamp == pytest.approx(0.32), "times count from the start of the film, not of what is left"


def test_the_next_frame_stands_in_for_a_damaged_one(tmp_path):
    path = damage_packets(write_video(tmp_path / "film.mp4", STEADY, **H264), [10, 30])
    assert [frame.index for frame in VideoSource(path, every=10)] == [0, 11, 20, 31, 40, 50, 60, 70]


def test_reordered_frames_are_counted_once(tmp_path):
    path = write_video(tmp_path / "film.mp4", STEADY, bf="3")
    assert [frame.index for frame in VideoSource(path)] == list(range(80))
    source = VideoSource(damage_packets(path, [10, 30, 31]))
    indices = [frame.index for frame in source]
    assert indices == sorted(set(indices)) and len(indices) >= 70
    assert source.skipped[0][1].startswith(f"{80 - len(indices)} of 80 frames damaged")


def test_a_film_that_was_cut_says_so(tmp_path):
    path = tmp_path / "film.avi"
    data = write_video(path, STEADY, codec="mjpeg").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = VideoSource(path)
    assert 20 < len(list(source)) < 60
    assert "the file was cut: " in source.skipped[0][1]


@pytest.mark.parametrize(("name", "codec", "offset"), [("film.webm", "libvpx", 0), ("film.mkv", "libx264", 2000)])
def test_a_varying_rate_and_a_late_start_are_no_damage(tmp_path, name, codec, offset):
    steps = np.random.default_rng(0).integers(33, 121, 79)
    times = offset + np.concatenate([[0], np.cumsum(steps)])
    options = {"deadline": "realtime"} if codec == "libvpx" else H264
    source = VideoSource(write_video(tmp_path / name, times.tolist(), codec=codec, **options))
    frames = list(source)
    assert source.skipped == [] and len(frames) == 80
    np.testing.assert_allclose([frame.timestamp for frame in frames], (times - offset) / 1000, atol=2e-3)


@pytest.mark.parametrize("name", ["10:30.mp4", "shot %03d.mp4", "a?b*[c].mp4"])
def test_names_are_names(tmp_path, name):
    path = write_video(tmp_path / name, STEADY, **H264)
    assert len(list(open_source(path))) == 80


def test_a_playlist_in_the_guise_of_a_video_opens_nothing(tmp_path):
    write_video(tmp_path / "film.mp4", STEADY, **H264)
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("ffconcat version 1.0\nfile 'film.mp4'\n")
    with pytest.raises(SourceError, match=r"playlist\.mp4 is not a video"):
        VideoSource(playlist)


@pytest.mark.parametrize(("aspect", "shape"), [(Fraction(4, 3), (96, 171, 3)), (Fraction(1, 2), (192, 128, 3))])
def test_anamorphic_film_gets_square_pixels(tmp_path, aspect, shape):
    path = write_video(tmp_path / "film.mp4", STEADY, pixel_aspect=aspect, **H264)
    assert next(iter(VideoSource(path))).image.shape == shape


def test_data_sets_lose_only_the_damaged_frame(tmp_path):
    path = damage_packets(write_video(tmp_path / "film.mp4", STEADY, **H264), [30])
    video = VideoFrames(path)
    assert video.read(29).shape == (96, 128, 3)
    with pytest.raises(BadFrameError, match="damaged"):
        video.read(30)
    assert video.read(31).shape == (96, 128, 3)
    with pytest.raises(BadFrameError, match="ends before"):
        video.read(80)
