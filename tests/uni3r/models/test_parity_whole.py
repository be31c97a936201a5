"""The whole published system against its vectors: a toy model forward and backward, and the published size forward.

The vectors hold photographs and are not part of the repository.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from common.checkpoints.detect import UNI3R
from common.geometry.cameras import opencv_from_colmap
from common.views import Cameras
from tests.support.parity import assert_close
from tests.support.uni3r_parity import fill, header, published_keys, vectors, weight_of
from uni3r.models.pose_encoding import cameras_from_encoding
from uni3r.models.uni3r import Prediction, Uni3R
from uni3r.rasterization.published_scale import rasterize_at_published_scale
from uni3r.semantics.lseg_checkpoint import lseg_from_state

LSEG = "lseg_feature_extractor."


def _images(given: dict[str, Tensor], views: range) -> Tensor:
    """(1, V, 3, H, W) in [-1, 1]."""
    stacked = torch.stack([given[f"in.image_uint8.{view}"] for view in views])
    return (stacked.permute(0, 3, 1, 2).float() / 127.5 - 1)[None]


def _intrinsics(given: dict[str, Tensor], views: range) -> Tensor:
    return torch.stack([given[f"in.intrinsics.{view}"][0] for view in views])[None]


def _lseg(shapes: dict[str, torch.Size], num_heads: int | None = None):
    """LSeg filled by the rule through its names inside a Uni3R file; the text tower's tensors are not needed."""
    state = {key: weight_of(LSEG + key, torch.Size(shape)) for key, shape in shapes.items()}
    return lseg_from_state(state, "the vectors", num_heads)


def _published_layout(values: Tensor, views: int, side: int) -> Tensor:
    """(1, V * H * W, ..) to (V, 1, H, W, ..)."""
    return values.unflatten(1, (views, side, side)).transpose(0, 1)


def _check_gaussians(prediction: Prediction, given: dict[str, Tensor], views: int, side: int, step: int, rel: float):
    gaussians = prediction.gaussians
    for ours, published in {
        "means": "means",
        "scales": "scales",
        "rotations": "rotations",
        "opacities": "opacities",
        "features": "gs_feats",
    }.items():
        name = f"out.{published}_s{step}"
        if name in given:
            maps = _published_layout(getattr(gaussians, ours), views, side)[:, :, ::step, ::step]
            assert_close(maps.reshape(given[name].shape), given[name], rel)


def _nearly_all_close(actual: Tensor, expected: Tensor, share: float = 0.995) -> None:
    """A flip at a threshold of the rasterizer may move single pixels."""
    error = (actual.detach() - expected).abs() / expected.abs().max()
    assert (error < 1e-3).float().mean() >= share and error.mean() < 1e-4, (error.max(), error.mean())


@pytest.mark.slow
def test_toy_model_forward_and_backward() -> None:
    given, config = vectors("uni3r_small"), header("uni3r_small")
    width, side = config["embed_dim"], config["img_size"]
    model = Uni3R(
        encoder_width=width,
        encoder_depth=config["dino_depth"],
        encoder_heads=config["dino_heads"],
        decoder_width=width,
        decoder_depth=config["aggregator_depth"],
        decoder_heads=config["aggregator_heads"],
        table_side=side // 16,
        camera_head=True,
        depth_head=True,
    )
    fill(model)
    shapes = {key.removeprefix(LSEG): shape for key, shape in published_keys("small_keys")["uni3r_small"].items()}
    shapes = {key: shape for key, shape in shapes.items() if key.startswith(("pretrained.", "scratch."))}
    lseg = _lseg(shapes, config["lseg"]["heads"])

    images, intrinsics = _images(given, range(2)), _intrinsics(given, range(2))
    prediction = model(images, intrinsics, lseg(images))
    _check_gaussians(prediction, given, 2, side, 4, 1e-4)
    harmonics = _published_layout(prediction.gaussians.harmonics, 2, side)[:, :, ::8, ::8]
    assert_close(harmonics, given["out.sh_coeffs_s8"], 1e-4)
    depth = prediction.depth.transpose(0, 1)[:, :, ::4, ::4, None]
    assert_close(depth, given["out.depth_head_s4"], 1e-4)
    found = cameras_from_encoding(prediction.pose_encoding, (side, side)).camera_to_world
    assert_close(torch.linalg.inv(found).transpose(0, 1), given["out.camera_head_extrinsics"], 1e-4)

    poses = torch.stack([given[f"in.camera_to_world.{view}"][0] for view in range(2, 4)])[None]
    # The published renderer has pixel centres at one half, and reads the same intrinsics so.
    targets = Cameras(poses, opencv_from_colmap(_intrinsics(given, range(2, 4))))
    rendering = rasterize_at_published_scale(
        prediction.gaussians, targets, (side, side), torch.tensor([config["scene_scale"]])
    )
    _nearly_all_close(rendering.image[0].permute(0, 2, 3, 1), given["out.image"])
    _nearly_all_close(rendering.depth[0][..., None], given["out.depth"])
    expanded = model.feature_compressor.expand(rendering.features)[0]
    truth = (_images(given, range(2, 4)) + 1) / 2  # published: features of the truth from images in [0, 1]
    target = lseg(truth)[0]

    image_loss = (rendering.image - truth).abs().mean()
    feature_loss = (1 - F.cosine_similarity(expanded, target, dim=1)).mean()
    total = image_loss + 0.2 * feature_loss
    losses = torch.stack([total, image_loss, feature_loss])
    torch.testing.assert_close(losses.detach(), given["out.loss"].flatten(), rtol=1e-4, atol=1e-4)
    total.backward()
    parameters = dict(model.named_parameters())
    for key, norm in config["grad_norms"].items():
        gradient = parameters[UNI3R.rename(key)].grad
        assert abs(float(gradient.norm()) / norm - 1) < 2e-2, key
        part = gradient.flatten()[:: max(1, gradient.numel() // 64)][:64]
        assert_close(part, given[f"grad.{key}"], 5e-2)


@pytest.mark.slow
@torch.no_grad()
def test_published_size() -> None:
    """10 GB and minutes: nearly two thousand million numbers are drawn."""
    given = vectors("uni3r_official")
    with torch.device("meta"):
        model = Uni3R(camera_head=True, depth_head=True)
    model = fill(model.to_empty(device="cpu"))
    for name, value in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
        getattr(model.backbone, name).copy_(torch.tensor(value).view(3, 1, 1))  # not of the state
    images, intrinsics = _images(given, range(2)), _intrinsics(given, range(2))
    shapes = {key.removeprefix(LSEG): torch.Size(shape) for key, shape in published_keys().items() if LSEG in key}
    shapes = {key: shape for key, shape in shapes.items() if key.startswith(("pretrained.", "scratch."))}
    lseg = _lseg(shapes)
    features = lseg(images)
    del lseg
    assert_close(features[0, :1, ..., ::16, ::16], given["out.lseg_features_s16"], 5e-4)

    pyramid = model.backbone(images, intrinsics)
    for number, level in zip((4, 11, 17, 23), pyramid.levels, strict=True):
        # Every 16th token of [camera, 4 registers, 256 patches, intrinsics]: the first patch among them is number 11.
        expected = given[f"out.tokens.{number}_s16"]
        assert_close(level[:, :, 11::16, ::16], expected[:, :, 1:], 5e-4)
    assert_close(pyramid.camera_tokens[..., ::16], expected[:, :, 0], 5e-4)
    del pyramid
    prediction = model(images, intrinsics, features)
    _check_gaussians(prediction, given, 2, 256, 16, 5e-4)
    assert_close(prediction.pose_encoding, given["out.pose_enc"], 5e-4)
    assert_close(prediction.pointmaps.points[:, :, ::8, ::8], given["out.world_points_s8"], 5e-4)
    assert_close(prediction.pointmaps.confidence[:, :, ::8, ::8], given["out.world_points_conf_s8"], 5e-4)
    assert_close(prediction.depth[:, :, ::8, ::8, None], given["out.depth_s8"], 5e-4)
    constant = _published_layout(prediction.gaussians.harmonics[:, :, 0], 2, 256)[:, :, ::16, ::16]
    assert_close(constant, given["out.sh_dc_s16"], 5e-4)
