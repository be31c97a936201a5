"""The measurement of scoring times runs, and the scene it makes is one: a good reconstruction of it scores well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.evaluation.sequence import FrameChoice, RgbdSequence
from common.evaluation.truth import load_truth
from slam3r.evaluation.sequence_scores import depth_row
from slam3r.profiling.scoring import QUICK, scoring_rows, write_room, write_run


def test_every_stage_is_measured() -> None:
    pytest.importorskip("evo")
    rows = list(scoring_rows(quick=True))
    assert [row.stage.split(",")[0] for row in rows] == ["true depth", "points", "depth", "trajectory", "all scores"]
    assert all(row.seconds and row.peak_memory for row in rows)
    assert rows[-1].seconds == pytest.approx(sum(row.seconds or 0 for row in rows[:-1]))


def test_the_scene_and_its_reconstruction(tmp_path: Path) -> None:
    sequence = RgbdSequence(write_room(tmp_path / "room", QUICK), FrameChoice())
    truth = load_truth(sequence, QUICK.size, tmp_path / "truth")
    assert truth.depth.shape == (6, 32, 32) and truth.depth.min() > 0
    frames, pixels = np.divmod(np.arange(truth.depth.size), 32 * 32)
    assert (np.abs(truth.points(frames, pixels)).max(axis=0) < [3.3, 1.5, 2.7]).all()  # the walls, and their ripples
    assert depth_row(write_run(tmp_path, sequence, truth, 1e-4), truth)["depth_abs_rel"] < 1e-3
