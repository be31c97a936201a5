"""Reading .sens files: every field in its place, and files that end early or are of another kind."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from data_process.errors import BadFrameError, SceneError
from data_process.formats.sens import SensFile, SensTruncatedError
from tests.support.raw_trees import INTRINSICS, SIZE, color, depth_units, pose, sens_bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scan.sens"
    file.write_bytes(sens_bytes([pose(number) for number in range(7)]))
    return file


def test_header(path: Path) -> None:
    with SensFile(path) as file:
        header = file.header
    assert header.sensor == "StructureSensor" and header.num_frames == 7 and header.depth_scale == 1000
    assert header.color_size == (48, 64) and header.depth_size == SIZE
    np.testing.assert_allclose(header.intrinsics_depth, INTRINSICS)
    np.testing.assert_allclose(header.intrinsics_color, np.diag([60.0, 62.0, 1.0]))


def test_frames(path: Path) -> None:
    with SensFile(path) as file:
        frames = list(file.frames(every=3))
    assert [frame.number for frame in frames] == [0, 3, 6]
    for frame in frames:
        np.testing.assert_allclose(frame.camera_to_world, pose(frame.number), atol=1e-6)
        np.testing.assert_array_equal(frame.decode_depth(), depth_units(frame.number))
        assert np.abs(frame.decode_color().astype(int) - color(frame.number, (48, 64))).max() <= 6
        assert frame.time_color == pytest.approx(0.033 * frame.number)


def test_a_file_that_ends_early_gives_the_frames_before(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    numbers = []
    with SensFile(path) as file, pytest.raises(SensTruncatedError) as caught:
        for frame in file.frames():
            frame.decode_depth()
            numbers.append(frame.number)
    assert numbers == [0, 1, 2, 3] and caught.value.number == 4


def test_a_damaged_depth_image_is_a_bad_frame(path: Path) -> None:
    with SensFile(path) as file:
        frame = next(file.frames())
        damaged = type(frame)(**{**vars(frame), "depth": frame.depth[:-20]})
        with pytest.raises(BadFrameError, match="damaged depth image"):
            damaged.decode_depth()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<IQ", 3, 4) + bytes(400), "not a .sens file of version 4"),
        (b"PK\3\4" + bytes(400), "not a .sens file of version 4"),
        (struct.pack("<IQ", 4, 2) + b"XX" + bytes(20), "ends within its header"),
        (b"", "ends within its header"),
        (
            struct.pack("<IQ", 4, 0) + bytes(256) + struct.pack("<2i4IfQ", 2, 2, 4, 4, 4, 4, 1000, 1),
            "depth compression 2",
        ),
        *(
            (
                struct.pack("<IQ", 4, 0) + bytes(256) + struct.pack("<2i4IfQ", 2, 1, *sides, scale, 2**63),
                message,
            )
            for sides, scale, message in (
                ((4, 4, 2**31, 2**31), 1000, "states images of"),
                ((4, 0, 4, 4), 1000, "states images of"),
                ((4, 4, 4, 4), float("nan"), "nan depth units"),
                ((4, 4, 4, 4), float("inf"), "inf depth units"),
            )
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "scan.sens").write_bytes(content)
    with pytest.raises(SceneError, match=message):
        SensFile(tmp_path / "scan.sens")


def test_a_number_of_frames_that_is_damaged_ends_with_the_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    header = 12 + len("StructureSensor") + 256 + 8 + 16 + 4
    content[header : header + 8] = struct.pack("<Q", 2**63)
    path.write_bytes(content)
    with SensFile(path) as file, pytest.raises(SensTruncatedError):
        assert len(list(file.frames())) < 100
