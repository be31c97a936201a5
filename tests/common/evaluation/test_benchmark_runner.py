"""Scenes are isolated, finished work is kept, and nothing is mixed that was made with other settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError
from common.evaluation.benchmark import Row, build_benchmark
from common.evaluation.columns import COLUMNS, bad_tail_row, median_row
from common.evaluation.references import Reference
from common.evaluation.report import markdown_table, write_report
from common.evaluation.runner import SceneResult, run_benchmark

GROUP_NAMES = ("Frames", "Points", "Path", "Depth", "Other")


class Stub:
    """Three scenes; those in `broken` fail."""

    name, notes = "stub", ("accuracy: by agreement",)

    def __init__(self, broken: tuple[str, ...] = (), seed: int = 1) -> None:
        self.broken, self.seed, self.calls = broken, seed, list[str]()

    def describe(self) -> dict:
        return {"model": {"seed": self.seed}, "size": (224, 224)}

    def scenes(self) -> list[str]:
        return ["a", "b", "c"]

    def evaluate(self, scene: str, folder: Path) -> Row:
        self.calls.append(scene)
        if scene in self.broken:
            raise ValueError(f"no depth in {scene}")
        (folder / "map.png").write_bytes(b"")
        return {"accuracy": 0.01 * (1 + "abc".index(scene)), "ate_rmse": float("nan"), "frames": 7}


def test_a_failing_scene_does_not_end_the_run_and_is_tried_again(tmp_path: Path) -> None:
    first = run_benchmark(Stub(broken=("b",)), tmp_path)
    assert [result.reason for result in first] == [None, "ValueError: no depth in b", None]
    assert "Traceback" in (tmp_path / "scenes" / "b" / "error.txt").read_text()

    again, seen = Stub(), list[tuple[str, bool]]()
    run_benchmark(again, tmp_path, on_scene=lambda result, is_old: seen.append((result.scene, is_old)))
    assert again.calls == ["b"]
    assert seen == [("a", True), ("b", False), ("c", True)]
    assert not (tmp_path / "scenes" / "b" / "error.txt").exists()

    anew = Stub()
    run_benchmark(anew, tmp_path, resume=False)
    assert anew.calls == ["a", "b", "c"]


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    run_benchmark(Stub(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"model\.seed 1 became 2.*resume=false"):
        run_benchmark(Stub(seed=2), tmp_path)
    run_benchmark(Stub(seed=2), tmp_path, resume=False)


def test_interrupting_is_not_a_failure_of_the_scene(tmp_path: Path) -> None:
    class Interrupted(Stub):
        def evaluate(self, scene: str, folder: Path) -> Row:
            if scene == "b":
                raise KeyboardInterrupt
            return super().evaluate(scene, folder)

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(Interrupted(), tmp_path)
    later = Stub()
    run_benchmark(later, tmp_path)
    assert later.calls == ["b", "c"]


def test_the_median_and_the_bad_tail_stand_beside_the_mean() -> None:
    """One scene in ten is a failure: the mean does not show it, the median hides it, the tail has it."""
    rows = [{"scene": f"s{n}", "accuracy": 0.01 * n, "psnr": 20.0 + n, "aligned": "yes"} for n in range(1, 11)]
    rows[-1] |= {"accuracy": 5.0, "psnr": 3.0}
    assert median_row(rows) == {"accuracy": pytest.approx(0.055), "psnr": pytest.approx(24.5)}
    tail = bad_tail_row(rows)
    assert tail["accuracy"] == pytest.approx(np.quantile([row["accuracy"] for row in rows], 0.9))
    assert tail["psnr"] == pytest.approx(np.quantile([row["psnr"] for row in rows], 0.1))  # higher is better
    lines = [line.split("|")[1].strip() for line in markdown_table(rows)]
    assert lines[-3:] == ["**mean**", "**median**", "**90 % of scenes**"]
    assert [line.split("|")[1].strip() for line in markdown_table(rows[:2])][-1] == "**mean**"  # too few for the others
    variants = [{**row, "scene": f"{row['scene']}@{name}"} for row in rows[:3] for name in ("on", "off")]
    lines = [line.split("|")[1].strip() for line in markdown_table(variants)]
    assert lines[-4:] == ["**median** on", "**median** off", "**90 % of scenes** on", "**90 % of scenes** off"]


def test_least_squares_stands_before_the_median_scale() -> None:
    keys = list(COLUMNS)
    assert keys.index("depth_abs_rel_ls") < keys.index("depth_abs_rel")


def test_report_says_what_was_found_what_failed_and_what_was_published(tmp_path: Path) -> None:
    results = run_benchmark(Stub(broken=("c",)), tmp_path)
    copied = Reference("Other", "Paper, table 1", "secondary", {"accuracy": 0.03}, {"a": {"accuracy": 0.02}})
    read = Reference("Third", "Paper, table 2", "paper", {"accuracy": 0.04}, note="Half of the frames.")
    rows = write_report(tmp_path, "stub", Stub.notes, [copied, read], {"model": "tiny"})
    assert [row["scene"] for row in rows] == ["a", "b"]

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["mean"]["accuracy"] == pytest.approx(0.015)
    assert metrics["mean"]["ate_rmse"] is None and metrics["scenes"][0]["ate_rmse"] is None
    assert metrics["failed"] == [{"scene": "c", "reason": results[2].reason}]

    report = (tmp_path / "report.md").read_text()
    assert "| a | 1.00 | – | 7 |" in report
    assert "| **mean** | 1.50 | – | 7.0 |" in report
    assert "- c: ValueError: no depth in c" in report
    assert "| **this run** (2 scenes) | 1.50 | 1.00 |" in report
    assert "| Other [1] \\* | 3.00 | 2.00 |" in report and "\\* secondary: read from a copy" in report
    assert "| Third [2] | 4.00 | – |" in report and "[2] Paper, table 2. Half of the frames." in report
    assert "accuracy: by agreement" in report
    assert "(scenes/a/map.png)" in report


def test_a_wide_table_becomes_one_for_each_kind_of_figure() -> None:
    keys = ["frames", *(f"f_{cm}cm" for cm in (1, 1.5, 2, 5, 10)), "accuracy", "ate_rmse", "ate_max", "rpe_rotation"]
    keys += ["depth_rmse", "depth_abs_rel", "own_figure"]
    lines = markdown_table([{"scene": "a", **dict.fromkeys(keys, 0.5)}])
    assert [line for line in lines if line.startswith("**")] == [f"**{name}**" for name in GROUP_NAMES]
    assert "| scene | ATE RMSE (cm) ↓ | ATE max (cm) ↓ | RPE rotation (°) ↓ |" in lines
    assert lines[-3:] == ["| scene | own figure |", "| --- | ---: |", "| a | 0.500 |"]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run_benchmark(Stub(), tmp_path)
    (tmp_path / "scenes" / "b" / "result.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"b/result\.json is not a result"):
        run_benchmark(Stub(), tmp_path)


def test_a_target_that_is_no_benchmark_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot import nowhere\.Nothing"):
        build_benchmark({"benchmark": {"_target_": "nowhere.Nothing"}})
    with pytest.raises(ConfigurationError, match="not a benchmark"):
        build_benchmark({"benchmark": {"_target_": f"{SceneResult.__module__}.SceneResult"}})
