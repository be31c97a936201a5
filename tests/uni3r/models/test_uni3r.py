"""Uni3R as a user meets it: any number of views, any shape, both decoders, weights of its relatives."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from common.checkpoints.hub import initialized
from common.configuration import config_folder, load_yaml
from common.errors import CheckpointError, ConfigurationError
from slam3r.models import ImageToPoints
from tests.support.parity import (
    assert_close,
    image_to_points,
    procedural_frames,
    published_state,
    relative_error,
    sizes,
)
from tests.support.parity import header as slam3r_header
from uni3r.models.attributes import AttributeSettings
from uni3r.models.uni3r import Uni3R
from uni3r.models.vggt import VGGT
from uni3r.models.weight_adaptation import adapt_patch_kernel

TOY = {"encoder_width": 32, "encoder_depth": 2, "encoder_heads": 2}
TOY |= {"decoder_width": 32, "decoder_depth": 4, "decoder_heads": 2, "dpt_width": 16, "dpt_channels": (8, 8, 8, 8)}
MULTIVIEW = {**TOY, "decoder": "multiview", "intrinsics": "add", "point_head": "linear", "point_activation": "exp"}
ALTERNATING = {**TOY, "table_side": 4, "camera_head": True, "depth_head": True}
DECODERS = pytest.mark.parametrize("sizes", [MULTIVIEW, ALTERNATING], ids=["multiview", "alternating"])


@cache
def _cached(items: tuple) -> Uni3R:
    """A network whose blocks and tokens all matter, as after training."""
    torch.manual_seed(0)
    model = Uni3R(**dict(items)).eval()
    for name, value in model.named_parameters():
        if name.endswith(".gamma"):
            torch.nn.init.ones_(value)
        elif name.endswith("_tokens"):
            torch.nn.init.normal_(value)
    return model


def _model(sizes: dict) -> Uni3R:
    return _cached(tuple(sorted(sizes.items())))


def _images(views: int, height: int = 32, width: int = 48) -> Tensor:
    return procedural_frames(views, height, width)[None]


def _intrinsics(views: int) -> Tensor:
    return torch.tensor([[40.0, 0, 24], [0, 40, 16], [0, 0, 1]]).expand(1, views, 3, 3)


@torch.no_grad()
@DECODERS
@pytest.mark.parametrize(("views", "height", "width"), [(1, 32, 32), (2, 32, 48), (3, 48, 32), (32, 32, 32)])
def test_any_number_of_views_of_any_shape(sizes: dict, views: int, height: int, width: int) -> None:
    prediction = _model(sizes)(_images(views, height, width), _intrinsics(views))
    gaussians, count = prediction.gaussians, views * height * width
    assert prediction.pointmaps.points.shape == (1, views, height, width, 3)
    assert torch.equal(gaussians.means, prediction.pointmaps.points.flatten(1, 3))
    assert gaussians.harmonics.shape == (1, count, 16, 3) and gaussians.features.shape == (1, count, 64)
    assert (gaussians.scales > 0).all() and ((gaussians.opacities > 0) & (gaussians.opacities < 1)).all()
    torch.testing.assert_close(gaussians.rotations.norm(dim=-1), torch.ones(1, count))
    for tensor in vars(gaussians).values():
        assert tensor.isfinite().all()
    if sizes is ALTERNATING:
        assert prediction.depth.shape == (1, views, height, width) and prediction.pose_encoding.shape == (1, views, 9)


@torch.no_grad()
@DECODERS
def test_samples_of_a_batch_do_not_see_each_other(sizes: dict) -> None:
    images = torch.cat([_images(2), _images(2).flip(-1)])
    both = _model(sizes)(images, _intrinsics(2).expand(2, -1, -1, -1))
    alone = _model(sizes)(images[1:], _intrinsics(2))
    assert_close(both.gaussians.means[1:], alone.gaussians.means)
    assert_close(both.gaussians.scales[1:], alone.gaussians.scales)


@torch.no_grad()
@DECODERS
def test_view_0_is_the_world_and_the_order_of_the_others_is_free(sizes: dict) -> None:
    images = _images(4)
    order = [0, 2, 3, 1]
    first, shuffled = _model(sizes)(images), _model(sizes)(images[:, order])
    assert_close(shuffled.pointmaps.points, first.pointmaps.points[:, order])
    other = _model(sizes)(images[:, [1, 0, 2, 3]])
    assert relative_error(other.pointmaps.points[:, 2], first.pointmaps.points[:, 2]) > 1e-4


@torch.no_grad()
def test_semantic_features_of_the_teacher_or_ready_made() -> None:
    model = _model(ALTERNATING)
    images = _images(2)
    plain = model(images).gaussians.features
    teacher = torch.randn(1, 2, 512, 16, 24)
    reduced = model.feature_compressor.reduce(teacher, (32, 48))
    assert_close(model(images, None, teacher).gaussians.features, plain + reduced.movedim(2, -1).flatten(1, 3))
    assert_close(model(images, None, reduced).gaussians.features, plain + reduced.movedim(2, -1).flatten(1, 3))
    assert model.feature_compressor.expand(reduced).shape == (1, 2, 512, 16, 24)
    with pytest.raises(ValueError, match="expected 64 channels or the teacher's 512, got 7"):
        model(images, None, torch.zeros(1, 2, 7, 16, 24))


@DECODERS
def test_every_part_learns_and_recomputed_blocks_learn_the_same(sizes: dict) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        model = Uni3R(**{**sizes, "checkpointing": checkpointing, "camera_head": False, "depth_head": False}).train()
        gaussians = model(_images(2), _intrinsics(2), torch.ones(1, 2, 512, 16, 24)).gaussians
        expanded = model.feature_compressor.expand(gaussians.features.view(1, 2, 32, 48, 64).movedim(-1, 2))
        maps = [*vars(gaussians).values(), expanded, model(_images(2)).pointmaps.confidence]
        sum((value * torch.linspace(0.5, 1.5, value.numel()).view_as(value)).mean() for value in maps).backward()
        idle = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
        assert not idle, sorted(idle)
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("family", ["i2p", "dust3r"])
def test_slam3r_and_dust3r_weights_give_their_own_points_before_training(tmp_path: Path, family: str) -> None:
    """Also with intrinsics: their embedding starts at zero."""
    vector_file = "i2p" if family == "i2p" else "dust3r_pair"
    network = image_to_points(vector_file, family)
    torch.save({"model": published_state(network, family)}, tmp_path / "weights.pth")
    given = sizes(slam3r_header(vector_file)["config"])
    given["point_head"] = given.pop("head", "linear")
    model = Uni3R(**{**MULTIVIEW, **given})
    initialized(model, tmp_path / "weights.pth", allow_missing=Uni3R.fresh_prefixes)
    images = procedural_frames(3, 64, 96)[None]
    expected = network(*network.encode(images), 0)
    for intrinsics in (None, _intrinsics(3)):
        found = model.eval()(images, intrinsics).pointmaps
        assert_close(found.points, expected.points, 1e-6)
        assert_close(found.confidence, expected.confidence, 1e-6)


@torch.no_grad()
def test_a_stem_gives_the_points_of_the_slam3r_that_it_comes_from(tmp_path: Path) -> None:
    """View by view, with and without a token of the intrinsics, which the stem does not see."""
    torch.manual_seed(0)
    own = {name: size for name, size in TOY.items() if not name.startswith("dpt")}
    network = ImageToPoints(**own, stem=True, head="smoothed").eval()
    for late in (network.sight.residuals, network.reference_head.correct, network.source_head.correct):
        torch.nn.init.normal_(late.weight, std=0.1)  # they start at zero
    network.save_pretrained(tmp_path)
    images = procedural_frames(3, 64, 96)[None]
    expected = network(*network.encode(images), 0)
    stemmed = {**MULTIVIEW, "stem": True, "point_head": "smoothed"}
    model = initialized(Uni3R(**stemmed), tmp_path, allow_missing=Uni3R.fresh_prefixes).eval()
    for intrinsics in (None, _intrinsics(3)):
        found = model(images, intrinsics).pointmaps
        assert_close(found.points, expected.points, 1e-6)
        assert_close(found.confidence, expected.confidence, 1e-6)
    tokened = initialized(Uni3R(**stemmed | {"intrinsics": "token"}), tmp_path, allow_missing=Uni3R.fresh_prefixes)
    assert_close(tokened.eval()(images).pointmaps.points, expected.points, 1e-6)
    assert tokened(images, _intrinsics(3)).pointmaps.points.shape == expected.points.shape


@torch.no_grad()
def test_intrinsics_matter_once_they_are_learnt() -> None:
    wide = _intrinsics(2) * torch.tensor([0.5, 0.5, 1.0])[:, None]
    for how in ("add", "token"):
        torch.manual_seed(0)
        model = Uni3R(**{**MULTIVIEW, "intrinsics": how}).eval()
        torch.nn.init.normal_(model.backbone.intrinsics.projection.weight)
        first, second = model(_images(2), _intrinsics(2)), model(_images(2), wide)
        assert relative_error(first.pointmaps.points, second.pointmaps.points) > 1e-3


@torch.no_grad()
def test_weights_of_vggt_begin_a_student_with_other_patches(tmp_path: Path) -> None:
    alternating = {**ALTERNATING, "depth_head": False}
    teacher = VGGT(**{**alternating, "patch_size": 14, "table_side": 7, "intrinsics": "none"})
    teacher.save_pretrained(tmp_path)
    student = Uni3R(**alternating)
    initialized(student, tmp_path, allow_missing=Uni3R.fresh_prefixes)
    old, new = (model.backbone.encoder for model in (teacher, student))
    torch.testing.assert_close(
        new.patch_embed.projection.weight, adapt_patch_kernel(old.patch_embed.projection.weight, 16)
    )
    assert new.position_table.entries.shape == (1, 17, 32)
    assert torch.equal(new.position_table.class_entry(), old.position_table.class_entry())
    assert torch.equal(student.point_head.predict[2].weight, teacher.point_head.predict[2].weight)
    with pytest.raises(CheckpointError, match=r"missing: .*attribute_head"):
        initialized(Uni3R(**alternating), tmp_path)


@torch.no_grad()
def test_round_trip_through_a_folder(tmp_path: Path) -> None:
    model = _model(MULTIVIEW)
    model.save_pretrained(tmp_path)
    loaded = Uni3R.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert_close(loaded(_images(2)).gaussians.means, model(_images(2)).gaussians.means, 1e-6)


def test_configs_of_both_sizes_build() -> None:
    for name in ("uni3r_tiny", "uni3r_large", "uni3r_multiview"):
        file = load_yaml(config_folder() / "model" / f"{name}.yaml")
        with torch.device("meta"):
            Uni3R(**OmegaConf.to_container(file.sizes))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"decoder": "multiview", "camera_head": True}, "camera_head: only with the alternating decoder"),
        ({"point_head": "linear"}, "only with the multiview decoder"),
        ({"stem": True}, "stem: only with the multiview decoder"),
        ({"decoder_width": 8}, "the alternating decoder has the encoder's width"),
        ({"decoderwidth": 8}, "did you mean decoder_width"),
        ({"attributes": {"scale": "exp"}}, "attributes.scale: expected 'exponential' or 'softplus'"),
    ],
)
def test_sizes_that_make_no_model(sizes: dict, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Uni3R(**sizes)


def test_an_image_that_is_not_whole_patches() -> None:
    with pytest.raises(ValueError, match="30x48 is not a multiple of the patch size 16"):
        _model(MULTIVIEW)(torch.zeros(1, 2, 3, 30, 48))


@torch.no_grad()
def test_gaussians_of_a_model_that_says_so_are_as_large_as_pixels_of_their_pictures() -> None:
    """Then a camera at half the distance sees a surface, where smaller Gaussians would be dots."""
    small = {"feature_channels": 0, "sh_degree": 0, "scale": "softplus"}
    plain, least = (
        _model({**MULTIVIEW, "centres": "rays", "attributes": AttributeSettings(**small, least_pixels=pixels)})
        for pixels in (0.0, 0.5)
    )
    least.load_state_dict(plain.state_dict())
    poses = torch.eye(4).expand(1, 2, 4, 4)
    images, intrinsics = _images(2), _intrinsics(2)
    before, after = (network(images, intrinsics, camera_to_world=poses).gaussians for network in (plain, least))
    pixel = before.means[..., 2:].clamp_min(0) / 40
    torch.testing.assert_close(after.scales, torch.maximum(before.scales, 0.5 * pixel))
    with pytest.raises(ValueError, match="least_pixels: only with centres on rays"):
        Uni3R(**MULTIVIEW, attributes=AttributeSettings(least_pixels=0.5))
