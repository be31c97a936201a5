"""The networks of Uni3R and VGGT against the published ones, at toy size, filled through the key maps."""

from __future__ import annotations

import json
import zlib

import pytest
import torch

from common.backbone import PatchGrid
from common.checkpoints.detect import UNI3R, UNI3R_TEACHER
from common.geometry.cameras import opencv_from_colmap
from common.heads.activations import activate, activate_confidence
from common.views import Cameras
from tests.support.parity import assert_close
from tests.support.uni3r_parity import fill, find, header, vectors, weight_of
from tests.support.vector_files import numbers_of, suffix_step
from uni3r.models.attributes import AttributeSettings
from uni3r.models.camera_head import CameraHead
from uni3r.models.config import Uni3RConfig
from uni3r.models.feature_compressor import FeatureCompressor
from uni3r.models.pose_encoding import cameras_from_encoding
from uni3r.models.vggt import VGGT
from uni3r.training.losses import feature_loss, l1_loss


def _toy(config: dict, **more) -> Uni3RConfig:
    """A vector file's config under our names."""
    return Uni3RConfig(
        encoder_width=config["embed_dim"],
        encoder_depth=config["dino_depth"],
        encoder_heads=config["dino_heads"],
        decoder_width=config["embed_dim"],
        decoder_depth=config["depth"],
        decoder_heads=config["num_heads"],
        patch_size=config["patch_size"],
        table_side=config["img_size"] // config["patch_size"],
        **more,
    )


def test_the_weight_rule_is_that_of_the_vectors() -> None:
    for check in json.loads(find("weights_check.json").read_text()):
        assert zlib.crc32(check["key"].encode()) == check["crc32"]
        weight = weight_of(check["key"], torch.Size(check["shape"]))
        torch.testing.assert_close(weight.flatten()[:3], torch.tensor(check["first"]))
        assert float(weight.double().square().sum()) == pytest.approx(check["sum_of_squares"], rel=1e-5)


def test_features_of_the_teacher_and_their_loss() -> None:
    """The teacher's channels to the Gaussians' and back, the cosine loss with its gradient, and the colour loss."""
    given = vectors("losses")
    rendered = given["in.rendered_features"][:, None].requires_grad_()
    target = given["in.target_features"][:, None]
    compressor = fill(FeatureCompressor(rendered.shape[2], target.shape[2]), UNI3R, "feature_compressor.")
    expanded = compressor.expand(rendered)
    (step,) = numbers_of(given, r"out\.expanded_every(\d+)th")
    assert_close(expanded[:, 0, ::step], given[f"out.expanded_every{step}th"], 1e-5)
    assert_close(compressor.reduce(target, rendered.shape[-2:])[:, 0], given["out.reduced_target"], 1e-5)
    loss = feature_loss(expanded, target)
    assert_close(loss, given["out.feature_loss"][0], 1e-5)
    loss.backward()
    assert_close(rendered.grad[:, 0], given["grad.rendered_features"], 1e-4)
    assert_close(l1_loss(given["in.image_a"], given["in.image_b"]), given["out.l1"][0], 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("with_intrinsics", [True, False])
def test_alternating_backbone(with_intrinsics: bool) -> None:
    given = vectors("aggregator_small")
    expected = "out" if with_intrinsics else "out_base"
    key_map = UNI3R if with_intrinsics else UNI3R_TEACHER
    backbone = _toy(header("aggregator_small"), intrinsics="token" if with_intrinsics else "none").build_backbone()
    backbone = fill(backbone, key_map, "backbone.")
    images = 2 * given["in.images"] - 1
    # The vectors hold intrinsics in units of the image.
    height = images.shape[-2]
    pixels = given["in.intrinsics"] * torch.tensor([height, height, 1.0])[:, None] if with_intrinsics else None

    scaled = ((images + 1) / 2 - backbone.mean) / backbone.deviation
    tokens, grid = backbone.encoder(scaled.flatten(0, 1))
    assert_close(tokens, given[f"{expected}.patch_tokens"])
    pyramid = backbone(images, pixels)
    first = header("aggregator_small")["patch_start_idx"]
    for number, level in enumerate(pyramid.levels):
        all_tokens = given[f"{expected}.tokens.{number}"]
        assert_close(level, all_tokens[:, :, first : first + grid.num_tokens])
    assert_close(pyramid.camera_tokens, all_tokens[:, :, 0])


@torch.no_grad()
def test_every_token_of_the_decoder() -> None:
    given = vectors("aggregator_small")
    backbone = fill(_toy(header("aggregator_small")).build_backbone(), prefix="backbone.")
    images, normalized = 2 * given["in.images"] - 1, given["in.intrinsics"]
    tokens, grid = backbone.encoder((((images + 1) / 2 - backbone.mean) / backbone.deviation).flatten(0, 1))
    extra = backbone.intrinsics.projection(normalized.flatten(-2))[:, :, None]
    for number, stream in enumerate(backbone.decoder(tokens.unflatten(0, images.shape[:2]), grid, extra)):
        assert_close(stream, given[f"out.tokens.{number}"])


@torch.no_grad()
def test_camera_head() -> None:
    given, config = vectors("camera_head_small"), header("camera_head_small")
    head = CameraHead(config["dim_in"], config["trunk_depth"], config["num_heads"], config["iterations"])
    rounds = fill(head, prefix="camera_head.")(given["in.tokens"][:, :, 0])
    for number, encoding in enumerate(rounds):
        assert_close(encoding, given[f"out.pose_enc.{number}"])
    cameras = cameras_from_encoding(rounds[-1], tuple(config["image_size_hw"]))
    assert_close(torch.linalg.inv(cameras.camera_to_world)[..., :3, :], given["out.extrinsics"])


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_pose_encoding(shape: str) -> None:
    given, size = vectors("pose_encoding"), tuple(header("pose_encoding")[shape])
    cameras = cameras_from_encoding(given["in.pose_enc"], size)
    assert_close(torch.linalg.inv(cameras.camera_to_world)[..., :3, :], given["out.extrinsics"], 1e-5)
    published = opencv_from_colmap(given[f"out.intrinsics_{shape}"])  # their pixel centres are at one half
    assert_close(cameras.intrinsics, published, 1e-5)
    again = cameras_from_encoding(given[f"out.roundtrip_{shape}"], size)
    assert_close(again.camera_to_world, cameras.camera_to_world, 1e-5)
    assert_close(again.intrinsics, cameras.intrinsics, 1e-5)


def test_a_dead_field_of_view_gives_a_finite_camera() -> None:
    encoding = torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 0, 0])
    cameras = cameras_from_encoding(encoding, (64, 64))
    assert cameras.intrinsics.isfinite().all()
    assert torch.equal(cameras.camera_to_world, torch.eye(4))
    assert isinstance(cameras, Cameras)


def _heads_config() -> Uni3RConfig:
    config = header("dpt_heads_small")
    width = config["dim_in"] // 2
    return Uni3RConfig(
        encoder_width=width,
        decoder_width=width,
        dpt_width=config["features"],
        dpt_channels=tuple(config["out_channels"]),
        attributes=AttributeSettings(),
    )


def _levels(given: dict[str, torch.Tensor], prefix: str = "") -> list[torch.Tensor]:
    first = header("dpt_heads_small")["patch_start_idx"]
    numbers = numbers_of(given, rf"{prefix}in\.tokens\.(\d+)")
    return [given[f"{prefix}in.tokens.{number}"][:, :, first:] for number in numbers]


def _grid(height: int, width: int) -> PatchGrid:
    patch = header("dpt_heads_small")["patch_size"]
    return PatchGrid(height // patch, width // patch)


@torch.no_grad()
def test_point_and_depth_heads() -> None:
    given, config = vectors("dpt_heads_small"), _heads_config()
    grid = _grid(*given["in.images"].shape[-2:])
    point = fill(config.build_dense_head(4), prefix="point_head.")
    maps = activate(point(_levels(given), grid), "inv_log")
    assert_close(maps.points, given["out.point"])
    assert_close(maps.confidence, given["out.point_conf"])
    depth = fill(config.build_dense_head(2), prefix="depth_head.")(_levels(given), grid)
    assert_close(depth[..., :1].exp(), given["out.depth"])
    assert_close(activate_confidence(depth[..., 1]), given["out.depth_conf"])


@torch.no_grad()
def test_more_views_than_go_through_at_once() -> None:
    given = vectors("dpt_heads_small")
    point = fill(_heads_config().build_dense_head(4), prefix="point_head.")
    levels = _levels(given, "chunk.")
    maps = activate(point(levels, _grid(*header("dpt_heads_small")["chunk_image_hw"])), "inv_log")
    assert levels[0].shape[1] > point.views_per_pass
    name, step = suffix_step(given, "chunk.out.point")
    assert_close(maps.points[:, :, ::step, ::step], given[name])


@torch.no_grad()
def test_feature_head_and_attributes() -> None:
    given = vectors("dpt_heads_small")
    head = fill(_heads_config().build_attribute_head(), prefix="attribute_head.")
    flat = [tokens.flatten(0, 1) for tokens in _levels(given)]
    images = given["in.images"]
    grid = _grid(*images.shape[-2:])
    features = head.features(flat, grid.height, grid.width, images.flatten(0, 1)).unflatten(0, images.shape[:2])
    name, step = suffix_step(given, "out.features")
    assert_close(features[..., ::step, ::step], given[name])
    raw = head(_levels(given), grid, images).movedim(-1, 2)
    name, step = suffix_step(given, "out.gs_attrs")
    assert_close(raw[..., ::step, ::step], given[name])


@torch.no_grad()
def test_vggt_as_teacher() -> None:
    given, config = vectors("distiller_small"), header("distiller_small")
    toy = _toy(config, intrinsics="none", depth_head=True)
    heads = {"dpt_width": config["head_features"], "dpt_channels": config["head_out_channels"], "camera_head": False}
    model = fill(VGGT(**(toy.to_dict() | heads)), UNI3R_TEACHER)
    geometry = model(given["in.images"], tuple(config["upsampled"]))
    assert_close(geometry.pointmaps.points, given["out.world_points"], 5e-5)
    assert_close(geometry.pointmaps.confidence, given["out.world_points_conf"], 5e-5)
    assert_close(geometry.depth[..., None], given["out.depth"], 5e-5)
    assert_close(geometry.depth_confidence, given["out.depth_conf"], 5e-5)
