"""The map on disk: what was committed is there after any crash, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slam3r.live.disk_map import RECORD, DiskMap, DiskMapError


def part(frame: int, count: int = 70) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(frame)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (count, 3)).astype(np.uint8), rng.uniform(1, 9, count), frame


def filled(folder: Path, frames: int = 6) -> DiskMap:
    """Files of 100 points, frames of 70: most frames lie in two files."""
    with DiskMap(folder, chunk_points=100, commit_every=2) as disk:
        for frame in range(frames):
            disk.append(*part(frame))
    return disk


def check(disk: DiskMap, frames: list[int]) -> None:
    found = dict(disk.frames())
    assert list(found) == frames
    for frame, records in found.items():
        np.testing.assert_array_equal(records["point"], part(frame)[0])
        np.testing.assert_array_equal(records["color"], part(frame)[1])
        assert (records["frame"] == frame).all()


def test_round_trip_over_files_and_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    assert filled(folder).num_points == 420
    assert len(list(folder.glob("points_*.bin"))) == 5
    with DiskMap(folder) as disk:
        assert disk.chunk_points == 100
        disk.append(*part(6))
    check(DiskMap(folder), list(range(7)))


def test_records_are_mapped_not_read(tmp_path: Path) -> None:
    with DiskMap(tmp_path / "map") as disk:
        disk.append(*part(0))
    (_, records), *_ = disk.frames()
    assert isinstance(records, np.memmap)


def test_removed_frames_are_gone_and_may_come_again(tmp_path: Path) -> None:
    disk = filled(tmp_path / "map")
    disk.remove(2)
    check(DiskMap(tmp_path / "map"), [0, 1, 3, 4, 5])
    disk.append(*part(2))
    disk.commit()
    check(DiskMap(tmp_path / "map"), [0, 1, 3, 4, 5, 2])


@pytest.mark.parametrize("lost", range(0, 3 * 36 + 1, 13))
def test_a_journal_cut_anywhere_keeps_the_whole_frames_before(tmp_path: Path, lost: int) -> None:
    folder = tmp_path / "map"
    filled(folder)
    journal = folder / "journal.bin"
    size = journal.stat().st_size
    with journal.open("r+b") as file:
        file.truncate(size - lost)
    disk = DiskMap(folder)
    left = (size - lost) // (size // 6)
    check(disk, list(range(left)))
    disk.append(*part(9))
    disk.commit()
    check(DiskMap(folder), [*range(left), 9])


def test_points_without_a_journal_line_are_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    filled(folder)
    with (folder / "points_000004.bin").open("ab") as file:  # killed after the points, before the journal
        file.write(b"\1" * 55 * RECORD.itemsize)
    (folder / "points_000005.bin").write_bytes(b"\1" * 30)
    disk = DiskMap(folder)
    check(disk, list(range(6)))
    assert (folder / "points_000004.bin").stat().st_size == 20 * RECORD.itemsize


def test_a_damaged_last_commit_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    filled(folder)
    with (folder / "points_000004.bin").open("r+b") as file:
        file.write(b"\xff" * 8)
    disk = DiskMap(folder)
    assert disk.num_cut == 1
    check(disk, list(range(5)))


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = filled(tmp_path / "map")
    real = DiskMap._write_entries

    def full(self: DiskMap, entries: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DiskMap, "_write_entries", full)
    disk.append(*part(6))
    with pytest.raises(OSError, match="No space"):
        disk.append(*part(7))
    check(DiskMap(tmp_path / "map"), list(range(6)))
    monkeypatch.setattr(DiskMap, "_write_entries", real)
    disk.commit()  # there is room again: what waited is written
    check(DiskMap(tmp_path / "map"), list(range(8)))


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(DiskMapError, match=r"no map\.json"):
        DiskMap(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "map.json").write_text('{"version": 99, "chunk_points": 5, "record": 24}')
    with pytest.raises(DiskMapError, match="version 99"):
        DiskMap(other)
