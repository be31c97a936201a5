"""Comparisons with answers known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError
from common.evaluation.bootstrap import bootstrap_mean
from common.evaluation.columns import mean_row
from common.evaluation.compare import compare_rows, comparison_report
from common.evaluation.references import read_references
from common.files import write_json


def test_bootstrap_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    # Of 400 values of unit variance, the mean has a standard error of 1/20: 95 % lie within 1.96 of them.
    values = np.random.default_rng(3).standard_normal(400)
    values = (values - values.mean()) / values.std() + 2
    interval = bootstrap_mean(values)
    assert interval.mean == pytest.approx(2)
    assert interval.low == pytest.approx(2 - 1.96 / 20, abs=0.004)
    assert interval.high == pytest.approx(2 + 1.96 / 20, abs=0.004)


def test_bootstrap_of_two_values_by_enumeration() -> None:
    # Resamples of {0, 1}: mean 0 and 1 with a quarter each, 0.5 with a half.
    interval = bootstrap_mean([0.0, 1.0], confidence=0.4)
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)
    interval = bootstrap_mean([0.0, 1.0], confidence=0.6)
    assert (interval.low, interval.high) == (0, 1)
    with pytest.raises(ValueError, match="values"):
        bootstrap_mean([])


def test_differences_are_paired_by_scene() -> None:
    first = [{"scene": name, "accuracy": value} for name, value in zip("abc", (0.01, 0.10, 0.30), strict=True)]
    second = [{"scene": name, "accuracy": value} for name, value in zip("cbd", (0.28, 0.09, 1.0), strict=True)]
    (difference,) = compare_rows(first, second)
    assert difference.scenes == {"b": pytest.approx(-0.01), "c": pytest.approx(-0.02)}
    assert difference.interval.mean == pytest.approx(-0.015)
    assert difference.verdict == "–"  # both scenes agree, but by chance they do so every second time


def test_verdicts_need_many_scenes_that_agree() -> None:
    first = [{"scene": name, "accuracy": 0.1, "f_2cm": 0.5, "ate_rmse": 0.1} for name in "abcdef"]
    second = [
        {"scene": row["scene"], "accuracy": 0.09, "f_2cm": 0.4, "ate_rmse": 0.1 + 0.02 * (-1) ** i}
        for i, row in enumerate(first)
    ]
    verdicts = {difference.key: difference.verdict for difference in compare_rows(first, second)}
    assert verdicts == {"accuracy": "better", "f_2cm": "worse", "ate_rmse": "–"}
    assert {difference.verdict for difference in compare_rows(first[:5], second)} == {"–"}


def test_comparison_of_two_runs(tmp_path: Path) -> None:
    rows = [
        [{"scene": "a", "f_2cm": 0.5, "aligned": "yes"}, {"scene": "b", "f_2cm": None}],
        [{"scene": "a", "f_2cm": 0.25}],
    ]
    for name, content in zip("pq", rows, strict=True):
        write_json(tmp_path / name / "metrics.json", {"benchmark": "x", "scenes": content})
    text = comparison_report(tmp_path / "p", tmp_path / "q")
    assert "| F 2 cm ↑ | -0.250 | -0.250 | -0.250 to -0.250 | – |" in text  # one scene tells nothing apart
    assert "No verdict with fewer than 6 scenes" in text
    assert f"Only in {tmp_path / 'p'}: b." in text

    write_json(tmp_path / "r" / "metrics.json", {"benchmark": "y", "scenes": rows[1]})
    with pytest.raises(ConfigurationError, match=r"benchmark x.*of y"):
        comparison_report(tmp_path / "p", tmp_path / "r")
    with pytest.raises(ConfigurationError, match=r"metrics\.json"):
        comparison_report(tmp_path / "p", tmp_path / "nowhere")


def test_means_leave_out_scenes_without_an_answer() -> None:
    rows = [
        {"scene": "a", "ate_rmse": None, "psnr": 20.0, "aligned": "yes"},
        {"scene": "b", "ate_rmse": 0.5, "psnr": 22},
    ]
    assert mean_row(rows) == {"ate_rmse": 0.5, "psnr": 21}


@pytest.mark.parametrize("benchmark", ["replica", "seven_scenes"])
def test_published_means_are_those_of_their_scenes(benchmark: str) -> None:
    """Guards against slips of the pen. 7-Scenes averages over sequences, of which scenes have unequal numbers."""
    references = read_references(benchmark)
    assert {line.method for line in references} >= {"DUSt3R", "SLAM3R"}
    for line in references:
        for key in {"accuracy", "completeness"} & line.mean.keys():
            values = [scene[key] for scene in line.scenes.values()]
            if benchmark == "replica":
                assert np.mean(values) == pytest.approx(line.mean[key], abs=7e-4), (line.method, key)
            else:
                assert min(values) < line.mean[key] < max(values)
    assert read_references("unknown") == []
