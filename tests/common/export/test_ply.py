"""PLY files: round trips, what Open3D makes of them, and broken input."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from common.export.ply import PlyWriter, read_ply, write_ply

GENERATOR = np.random.default_rng(0)
POINTS = GENERATOR.normal(size=(25, 4, 3)).astype(np.float32)
COLORS = GENERATOR.integers(0, 256, size=(25, 4, 3), dtype=np.uint8)
CONFIDENCE = GENERATOR.uniform(1, 30, size=(25, 4)).astype(np.float32)


@pytest.mark.parametrize("with_color", [True, False])
@pytest.mark.parametrize("with_confidence", [True, False])
def test_round_trip(tmp_path: Path, with_color: bool, with_confidence: bool) -> None:
    colors, confidence = COLORS if with_color else None, CONFIDENCE if with_confidence else None
    write_ply(tmp_path / "a.ply", POINTS, colors, confidence)
    cloud = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.points, POINTS.reshape(-1, 3))
    for found, given in ((cloud.colors, colors), (cloud.confidence, confidence)):
        assert (found is None) == (given is None)
        if found is not None and given is not None:
            np.testing.assert_array_equal(found, given.reshape(found.shape))


def test_chunks_make_the_same_file(tmp_path: Path) -> None:
    write_ply(tmp_path / "whole.ply", POINTS, COLORS, CONFIDENCE)
    with PlyWriter(tmp_path / "chunks.ply", with_confidence=True) as writer:
        for start, end in ((0, 3), (3, 3), (3, 25)):
            writer.append(POINTS[start:end], COLORS[start:end], CONFIDENCE[start:end])
        assert not (tmp_path / "chunks.ply").exists()
    assert writer.count == 100
    assert (tmp_path / "chunks.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()


def test_open3d_reads_it(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    path = tmp_path / "a.ply"
    write_ply(path, POINTS, COLORS, CONFIDENCE)
    cloud = open3d.io.read_point_cloud(str(path))
    np.testing.assert_allclose(np.asarray(cloud.points), POINTS.reshape(-1, 3))
    np.testing.assert_allclose(np.asarray(cloud.colors) * 255, COLORS.reshape(-1, 3), atol=1e-6)
    confidence = open3d.t.io.read_point_cloud(str(path)).point["confidence"].numpy()
    np.testing.assert_array_equal(confidence[:, 0], CONFIDENCE.reshape(-1))


def test_we_read_open3d(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(POINTS.reshape(-1, 3).astype(np.float64)))
    cloud.normals = open3d.utility.Vector3dVector(np.ones((100, 3)))  # properties that we do not know
    cloud.colors = open3d.utility.Vector3dVector(COLORS.reshape(-1, 3) / 255)
    open3d.io.write_point_cloud(str(tmp_path / "o.ply"), cloud)
    found = read_ply(tmp_path / "o.ply")
    np.testing.assert_array_equal(found.points, POINTS.reshape(-1, 3))
    assert found.colors is not None
    np.testing.assert_array_equal(found.colors, COLORS.reshape(-1, 3))


def test_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), PlyWriter(tmp_path / "a.ply") as writer:
        writer.append(POINTS, COLORS)
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_wrong_use_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="as the writer was told"), PlyWriter(tmp_path / "a.ply") as writer:
        writer.append(POINTS)
    with pytest.raises(TypeError, match="uint8"):
        write_ply(tmp_path / "a.ply", POINTS, COLORS / 255.0)
    with pytest.raises(RuntimeError, match="with block"):
        PlyWriter(tmp_path / "a.ply").append(POINTS, COLORS)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, POINTS)
    data = path.read_bytes()
    for broken, reason in (
        (data[:-1], "cut short"),
        (b"obj", "not a PLY"),
        (data.replace(b"little", b"middle"), "middle"),
    ):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=reason):
            read_ply(path)
