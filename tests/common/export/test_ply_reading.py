"""PLY files of other programs: line ends, packed kinds, damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from common.export.ply import read_ply, write_ply
from common.export.ply_reading import read_vertices

HEADER = (
    "ply\nformat {kind} 1.0\ncomment café\nelement vertex 2\n"
    "property float x\nproperty float y\nproperty float z\nend_header\n"
)
VALUES = np.array([[1, 2, 3], [4, 5, 6.5]], "<f4")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_line_ends_and_byte_orders(tmp_path: Path, line_end: str, kind: str) -> None:
    body = {
        "ascii": line_end.join(" ".join(map(str, row)) for row in VALUES).encode(),
        "binary_little_endian": VALUES.tobytes(),
        "binary_big_endian": VALUES.astype(">f4").tobytes(),
    }[kind]
    (tmp_path / "a.ply").write_bytes(HEADER.format(kind=kind).replace("\n", line_end).encode() + body)
    cloud = read_ply(tmp_path / "a.ply")
    assert cloud.points.tolist() == VALUES.tolist() and cloud.points.dtype == np.float32 and cloud.colors is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a PLY"),
        (b"PK\x03\x04", "packed by zip"),
        (gzip.compress(b"ply", mtime=0), "packed by gzip"),
        (HEADER.format(kind="ascii").encode() + b"1 2 3 4", "cut short: 4 numbers"),
        (HEADER.format(kind="ascii").encode() + b"1 2 3 4 5 x", "other than numbers"),
        (HEADER.format(kind="binary_little_endian").encode() + b"1234", "cut short: 4 bytes"),
        (HEADER.format(kind="binary_middle_endian").encode(), "has the format binary_middle_endian"),
        (HEADER.format(kind="ascii").replace("vertex 2", "vertex many").encode(), "not as documented"),
        (HEADER.format(kind="ascii").replace("float x", "vec3 x").encode(), "not as documented"),
        (HEADER.format(kind="binary_little_endian").replace("vertex 2", "vertex 99999999999").encode(), "cut short"),
        (HEADER.format(kind="ascii").replace("vertex 2", "vertex -2").encode(), "-2 vertices"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\nelement vertex 256\n"
            b"property uint packed_position\nend_header\n",
            "compressed PLY of SuperSplat",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.ply .*{reason}"):
        read_vertices(tmp_path / "a.ply")


def test_a_file_of_ours_is_not_copied(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", VALUES)
    assert not read_vertices(tmp_path / "a.ply").flags.owndata
