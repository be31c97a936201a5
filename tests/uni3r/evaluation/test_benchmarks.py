"""The benchmarks: a perfect model scores perfectly, poses are aligned, and rooms run from a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg16

from common.errors import CheckpointError, ConfigurationError, InputError
from common.evaluation.benchmark import build_benchmark
from common.evaluation.references import Reference
from common.evaluation.report import reference_table
from common.model_library import ReadyModel
from common.views import Pointmaps, Views
from tests.support.processed import write_manifest, write_scene
from tests.support.tiny_uni3r import SIZE, network, room
from uni3r.evaluation.pose_alignment import PoseAlignmentSettings
from uni3r.evaluation.window_scorer import ProtocolSettings, WindowScorer
from uni3r.models.attributes import gaussians_from_attributes
from uni3r.models.description import InferenceSettings, SceneUnit, Uni3rDescription
from uni3r.models.scene_unit import cameras_in_unit, context_points, scene_unit
from uni3r.models.uni3r import Prediction
from uni3r.semantics.labels import load_label_set
from uni3r.semantics.query import Query

UNIT = SceneUnit("points", points_distance=3.0)
QUICK = ProtocolSettings(refine=False, alignment=PoseAlignmentSettings(steps=5))


class Oracle(torch.nn.Module):
    """Knows the scene; in place of a network."""

    def __init__(self, window: Views) -> None:
        super().__init__()
        self.truth, self.config, self.feature_compressor = window, network().config, None

    def forward(self, images, intrinsics, residual, poses) -> Prediction:
        unit = scene_unit(self.truth, UNIT)
        points, _ = context_points(self.truth)
        points = points / unit
        settings = self.config.attributes
        raw = torch.zeros(*points.shape[:-1], settings.channels)
        raw[..., :3], raw[..., 3], raw[..., 7] = -1.0, 1, 5
        gaussians = gaussians_from_attributes(raw, points, settings, images)
        gaussians.features = torch.nn.functional.one_hot(self.truth.labels.flatten(1), 8).float()
        cameras = cameras_in_unit(self.truth, self.truth.camera_to_world[:, 0], unit)
        return Prediction(gaussians, Pointmaps(points, points[..., 0]), cameras.camera_to_world)


def _scorer(window: Views) -> WindowScorer:
    inference = InferenceSettings(SIZE, None, teacher=None, labels="rooms", unit=UNIT)
    description = Uni3rDescription(name="miniature", weights="in memory", inference=inference)
    ready = ReadyModel(description, network(), inference, torch.device("cpu"), {})
    scorer = WindowScorer(ready, QUICK, None, lpips=None)
    scorer.network = Oracle(window)  # type: ignore[assignment]
    return scorer


class OneHot:
    """A text side that knows the classes and nothing else."""

    width = 8

    def text(self, words, templates=()) -> torch.Tensor:
        return torch.eye(8)[: len(words)]


def _query() -> Query:
    return Query.of(OneHot(), load_label_set("rooms"))


def test_the_truth_scores_well_without_being_told_depth_or_unit() -> None:
    views = room(3)
    row = _scorer(views[[0, 2]][None]).score(views, [0, 2], [1], _query()).row
    assert row["psnr"] > row["psnr_nearest"] + 2
    assert row["psnr_gain"] == pytest.approx(row["psnr"] - max(row["psnr_nearest"], row["psnr_mean_colour"]))
    assert row["pixel_accuracy"] > 0.85
    assert row["depth_abs_rel_ls"] < 0.05
    assert row["depth_abs_rel"] < 0.05
    assert row["psnr"] >= row["psnr_unaligned"] - 0.1


def test_baselines_in_closed_form() -> None:
    views = room(3)
    row = _scorer(views[[0, 2]][None]).score(views, [0, 2], [1], None).row
    images = (views.images + 1) / 2
    errors = [(images[index] - images[1]).square().mean() for index in (0, 2)]
    assert row["psnr_nearest"] == pytest.approx(float(-10 * torch.stack(errors).min().log10()), abs=1e-3)
    assert "miou" not in row


def test_rooms_run_from_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))  # an empty cache
    network().save_pretrained(tmp_path / "weights")
    quick = {"refinement": {"shrink": [8], "renderings": 1}, "alignment": {"steps": 2}}
    config = {
        "benchmark": {
            "_target_": "uni3r.evaluation.rooms.RoomsBenchmark",
            "scenes": 1,
            "context_views": 2,
            "lpips": True,
            "protocol": {**quick, "true_poses": True},
        },
        "model": {
            "name": "miniature",
            "weights": str(tmp_path / "weights"),
            "inference": {"size": list(SIZE), "sh_degree": None, "teacher": None, "labels": "rooms"}
            | {"unit": {"rule": "points"}},
        },
        "device": "cpu",
    }
    benchmark = build_benchmark(config)
    assert benchmark.scenes() == ["room_1000"]
    row = benchmark.evaluate("room_1000", tmp_path)
    assert {"psnr", "ssim", "psnr_unaligned", "psnr_gain", "depth_abs_rel_ls", "seconds"} <= row.keys()
    assert "lpips" not in row
    assert any(note.startswith("LPIPS: not measured (LPIPS needs torchvision's VGG-16 at") for note in benchmark.notes)
    assert benchmark.describe()["model"]["name"] == "miniature"
    config["benchmark"]["lpips"] = str(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"VGG-16 at .*nowhere\.pth"):
        build_benchmark(config)


def test_lpips_from_a_file_in_the_old_format_end_to_end(tmp_path: Path) -> None:
    """torchvision's VGG-16 is a file from before PyTorch 1.6: a benchmark takes it, and its notes have no excuse."""
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().features.state_dict().items()}
    weights = {f"features.{name}": 0.05 * torch.randn(shape) for name, shape in shapes.items()}
    torch.save(weights, tmp_path / "vgg16.pth", _use_new_zipfile_serialization=False)
    network().save_pretrained(tmp_path / "weights")
    config = {
        "benchmark": {
            "_target_": "uni3r.evaluation.rooms.RoomsBenchmark",
            "context_views": 2,
            "lpips": str(tmp_path / "vgg16.pth"),
            "protocol": {"true_poses": True, "alignment": {"steps": 2}},
        },
        "model": {
            "name": "miniature",
            "weights": str(tmp_path / "weights"),
            "inference": {"size": list(SIZE), "teacher": None, "labels": "rooms", "unit": {"rule": "points"}},
        },
        "device": "cpu",
    }
    benchmark = build_benchmark(config)
    row = benchmark.evaluate("room_1000", tmp_path)
    assert row["lpips"] > 0 and row["lpips_unaligned"] > 0
    assert not any("not measured" in note for note in benchmark.notes)


def test_a_folder_of_scenes_that_has_no_labels(tmp_path: Path) -> None:
    """Every second view of a window is a target; windows are spread over the scene."""
    for name, frames in (("kitchen", 12), ("office", 5)):
        write_scene(tmp_path / "data" / name, range(frames))
    write_manifest(tmp_path / "data")
    network().save_pretrained(tmp_path / "weights")
    config = {
        "benchmark": {
            "_target_": "uni3r.evaluation.folder.FolderBenchmark",
            "path": str(tmp_path / "data"),
            "context_views": 2,
            "stride": 2,
            "windows": 3,
            "protocol": {"refine": False, "true_poses": True, "alignment": {"steps": 2}},
        },
        "model": {
            "name": "miniature",
            "weights": str(tmp_path / "weights"),
            "inference": {"size": list(SIZE), "teacher": None, "labels": "rooms", "unit": {"rule": "first_last"}},
        },
        "device": "cpu",
    }
    benchmark = build_benchmark(config)
    assert benchmark.scenes() == ["kitchen", "office"]
    rows = [benchmark.evaluate(name, tmp_path) for name in benchmark.scenes()]
    assert [row["windows"] for row in rows] == [3, 1]
    assert all({"psnr", "psnr_unaligned", "depth_abs_rel_ls"} <= row.keys() and "miou" not in row for row in rows)
    config["benchmark"]["scenes"] = ["cellar"]
    with pytest.raises(InputError, match=r"data has no scene cellar; it has kitchen, office"):
        build_benchmark(config).scenes()


def test_several_numbers_of_views_are_rows_of_their_own(tmp_path: Path) -> None:
    """Only scenes long enough for a number of views; the unit is the distance from the first to the last."""
    for name, frames in (("scene0700_00", 8), ("scene0701_00", 4)):
        write_scene(tmp_path / "data" / name, range(frames), labels=True)
    write_manifest(tmp_path / "data")
    network().save_pretrained(tmp_path / "weights")
    inference = {"size": list(SIZE), "sh_degree": None, "teacher": None, "labels": "rooms"}
    config = {
        "benchmark": {
            "_target_": "uni3r.evaluation.scannet.ScanNetBenchmark",
            "path": str(tmp_path / "data"),
            "context_views": [2, 4],
            "lpips": False,
            "protocol": {"refine": False, "true_poses": True, "alignment": {"steps": 2}},
        },
        "model": {
            "name": "miniature",
            "weights": str(tmp_path / "weights"),
            "inference": {**inference, "unit": {"rule": "first_last"}},
        },
        "device": "cpu",
    }
    benchmark = build_benchmark(config)
    assert benchmark.scenes() == ["scene0700_00@2 views", "scene0701_00@2 views", "scene0700_00@4 views"]
    rows = [{"scene": name, **benchmark.evaluate(name, tmp_path)} for name in benchmark.scenes()]
    assert [row["windows"] for row in rows] == [2, 1, 1]
    text = "\n".join(reference_table(rows, [Reference("theirs", "paper", "paper", {"psnr": 20.0})]))
    assert "**this run, 2 views** (2 scenes)" in text and "**this run, 4 views** (1 scenes)" in text
    config["benchmark"] |= {"context_views": [4, 1]}
    with pytest.raises(ConfigurationError, match="context_views: expected different numbers of at least 2"):
        build_benchmark(config)
