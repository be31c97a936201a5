"""A map that grows: each step adds its points, and the film and the recording can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.sources.video import VideoSource
from common.drawing import video
from common.drawing.replay_film import GrowingMap, film_frames, write_film
from common.drawing.rerun_log import write_rerun
from common.drawing.settings import FilmSettings, PreviewStyle
from common.errors import InputError

SETTINGS = FilmSettings(size=(60, 80), rest=1, turn=0.0, picture=0.0, style=PreviewStyle(hide_backs=False, frusta=0))
RED, BLUE = (220, 10, 10), (10, 10, 220)


def growing() -> GrowingMap:
    """Two walls side by side in front of two cameras; the red one comes first."""
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (4000, 3)).astype(np.float32)
    points[:, 2] = 4
    step = (points[:, 0] > 0).astype(np.int64)
    colors = np.where(step[:, None] == 0, np.uint8(RED), np.uint8(BLUE))
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 0.1
    return GrowingMap(points, colors, step, poses, np.full((2, 20, 20, 3), 255, np.uint8))


def share(image: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - color).max(axis=-1) < 70).mean())


def test_points_come_when_their_step_does_and_stay() -> None:
    first, second, rest = film_frames(growing(), SETTINGS)
    assert share(first, RED) > 0.04 and share(first, BLUE) < 0.005
    assert share(second, RED) > 0.04 and share(second, BLUE) > 0.04
    assert share(rest, BLUE) == pytest.approx(share(second, BLUE), abs=0.03)


def test_a_frame_without_a_pose_does_not_stop_the_film() -> None:
    made = growing()
    made.camera_to_world[1] = np.nan
    assert len(list(film_frames(made, SETTINGS))) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_films_can_be_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_film(path, growing(), SETTINGS, progress=False)
    if suffix == ".gif":
        with Image.open(path) as film:
            assert film.n_frames >= 2 and film.size == (80, 60)
        return
    with VideoSource(path) as source:
        assert [frame.image.shape for frame in source] == [(60, 80, 3)] * 3


def test_other_films_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.mp4 or a \.gif"):
        write_film(tmp_path / "film.avi", growing(), SETTINGS)


def test_a_recording_is_written(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="comes with the extra viewer")
    write_rerun(tmp_path / "run.rrd", growing(), np.array([[20.0, 0, 9.5], [0, 20, 9.5], [0, 0, 1]]))
    data = (tmp_path / "run.rrd").read_bytes()
    assert data[:3] == b"RRF" and len(data) > 10_000
    assert b"world/points/00001" in data or b"points" in data


def test_a_film_that_did_not_arrive_whole_is_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV says nothing when the disk is full."""
    monkeypatch.setattr(video, "_frames_in", lambda _: 1)
    with (
        pytest.raises(InputError, match="could not be written whole; is the disk full"),
        video.video_writer(tmp_path / "a.mp4", (32, 32)) as write,
    ):
        for _ in range(3):
            write(np.zeros((32, 32, 3), np.uint8))
    assert not list(tmp_path.iterdir())
