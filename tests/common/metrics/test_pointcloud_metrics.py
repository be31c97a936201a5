"""Point cloud scores: parity with the published evaluation, and answers known by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.geometry.alignment import align_to_ground_truth, transform_points
from common.metrics.pointcloud import score_pointcloud, score_reconstruction
from tests.support.parity import find, header, vectors


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in vectors("evaluation").items()}


def test_parity_plain_metric(golden) -> None:
    score = score_pointcloud(golden["plain_prediction"], golden["plain_ground_truth"])
    assert 100 * score.accuracy == pytest.approx(float(golden["plain_accuracy"]), rel=1e-6)
    assert 100 * score.completeness == pytest.approx(float(golden["plain_completeness"]), rel=1e-6)
    assert score.chamfer == pytest.approx(float(golden["plain_chamfer_l1"]), rel=1e-6)
    assert score.completion_ratio == pytest.approx(float(golden["plain_comp_ratio_5cm"]), rel=1e-6)
    assert list(score.f_score.values()) == pytest.approx(golden["plain_f"].tolist(), rel=1e-6)


def test_parity_whole_evaluation(golden) -> None:
    info = header("evaluation")
    result = align_to_ground_truth(golden["prediction"], golden["ground_truth"], info["seed"])
    aligned = transform_points(result.transform, golden["prediction"])
    score = score_reconstruction(aligned, golden["ground_truth"], info["voxel_size"])
    by_seed = json.loads(find("evaluation.json").read_text())["metrics_by_ransac_seed"]
    for value, name, room in ((100 * score.accuracy, "accuracy", 0.06), (score.f_score[0.01], "f10", 0.015)):
        recorded = [metrics[name] for metrics in by_seed.values()]
        assert min(recorded) - room <= value <= max(recorded) + room
    expected = by_seed[str(info["seed"])]
    assert score.f_score[0.02] == pytest.approx(expected["f20"], abs=0.002)
    assert score.is_aligned
    # The same seed and versions give the same numbers; other builds of Open3D may differ in the last digits.
    found = {
        "accuracy": 100 * score.accuracy,
        "completeness": 100 * score.completeness,
        "f10": score.f_score[0.01],
        "f15": score.f_score[0.015],
        "f20": score.f_score[0.02],
        "chamfer": score.chamfer,
        "comp5": score.completion_ratio,
    }
    assert found == pytest.approx(expected, rel=1e-3)


def test_known_answer() -> None:
    truth = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    prediction = np.array([[0.0, 0.1, 0], [1, 0.3, 0]])
    score = score_pointcloud(prediction, truth, thresholds=(0.2, 0.05), completion_distance=0.5)
    assert score.accuracy == pytest.approx(0.2)
    far = [0.1, 0.3, np.hypot(1, 0.3), np.hypot(2, 0.3)]
    assert score.completeness == pytest.approx(np.mean(far))
    assert score.completion_ratio == 0.5
    assert score.precision == {0.2: 0.5, 0.05: 0.0} and score.recall == {0.2: 0.25, 0.05: 0.0}
    assert score.f_score == {0.2: pytest.approx(2 * 0.5 * 0.25 / 0.75), 0.05: 0.0}
    assert not score.is_aligned


def test_empty_clouds_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        score_pointcloud(np.empty((0, 3)), np.zeros((4, 3)))
