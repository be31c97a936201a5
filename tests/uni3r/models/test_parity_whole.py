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
from tests.support.published_rendering import rasterize_at_published_scale
from tests.support.uni3r_parity import fill, header, published_keys, toy_keys, vectors, weight_of
from tests.support.vector_files import numbers_of, step_between, suffix_step
from uni3r.models.pose_encoding import cameras_from_encoding
from uni3r.models.uni3r import Prediction, Uni3R
from uni3r.semantics.clip_text import ClipTextEncoder
from uni3r.semantics.lseg import LSeg
from uni3r.semantics.lseg_checkpoint import lseg_from_state
from uni3r.semantics.query import resize_logits, text_logits

LSEG = "lseg_feature_extractor."
LABELS = ["wall", "floor", "ceiling", "chair", "table", "sofa", "bed", "other"]
"""The published classes, whose logits are recorded."""


def _images(given: dict[str, Tensor], views: range) -> Tensor:
    """(1, V, 3, H, W) in [-1, 1]."""
    stacked = torch.stack([given[f"in.image_uint8.{view}"] for view in views])
    return (stacked.permute(0, 3, 1, 2).float() / 127.5 - 1)[None]


def _intrinsics(given: dict[str, Tensor], views: range) -> Tensor:
    return torch.stack([given[f"in.intrinsics.{view}"][0] for view in views])[None]


def _lseg(
    keys: dict[str, list[int]], num_heads: int | None = None, text_heads: int | None = None
) -> tuple[LSeg, ClipTextEncoder]:
    """LSeg and its text tower, filled by the rule through their names inside a Uni3R file."""
    needed = ("pretrained.", "scratch.", "clip_pretrained.")
    shapes = {key.removeprefix(LSEG): torch.Size(shape) for key, shape in keys.items() if LSEG in key}
    state = {
        key: weight_of(LSEG + key, shape)
        for key, shape in shapes.items()
        if key.startswith(needed) and not key.startswith("clip_pretrained.visual.")
    }
    text = ClipTextEncoder.from_state(state, "the vectors", text_heads)
    return lseg_from_state(state, "the vectors", num_heads), text


def _published_layout(values: Tensor, views: int, side: int) -> Tensor:
    """(1, V * H * W, ..) to (V, 1, H, W, ..)."""
    return values.unflatten(1, (views, side, side)).transpose(0, 1)


def _check_gaussians(prediction: Prediction, given: dict[str, Tensor], views: int, side: int, rel: float) -> None:
    """Those that a file holds, every n-th row and column."""
    gaussians = prediction.gaussians
    found = 0
    for ours, published in {
        "means": "means",
        "scales": "scales",
        "rotations": "rotations",
        "opacities": "opacities",
        "features": "gs_feats",
    }.items():
        if any(name.startswith(f"out.{published}_s") for name in given):
            name, step = suffix_step(given, f"out.{published}")
            maps = _published_layout(getattr(gaussians, ours), views, side)[:, :, ::step, ::step]
            assert_close(maps.reshape(given[name].shape), given[name], rel)
            found += 1
    assert found >= 4


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
        patch_size=config["patch_size"],
        table_side=side // config["patch_size"],
        camera_head=True,
        depth_head=True,
    )
    fill(model)
    lseg, encoder = _lseg(toy_keys("uni3r_small"), config["lseg"]["heads"], config["lseg"]["text_heads"])

    views = config["context_views"]
    context, others = range(views), range(views, views + config["target_views"])
    images, intrinsics = _images(given, context), _intrinsics(given, context)
    prediction = model(images, intrinsics, lseg(images))
    _check_gaussians(prediction, given, views, side, 1e-4)
    name, step = suffix_step(given, "out.sh_coeffs")
    harmonics = _published_layout(prediction.gaussians.harmonics, views, side)[:, :, ::step, ::step]
    assert_close(harmonics, given[name], 1e-4)
    name, step = suffix_step(given, "out.depth_head")
    assert_close(prediction.depth.transpose(0, 1)[:, :, ::step, ::step, None], given[name], 1e-4)
    found = cameras_from_encoding(prediction.pose_encoding, (side, side)).camera_to_world
    assert_close(torch.linalg.inv(found).transpose(0, 1), given["out.camera_head_extrinsics"], 1e-4)

    poses = torch.stack([given[f"in.camera_to_world.{view}"][0] for view in others])[None]
    # The published renderer has pixel centres at one half, and reads the same intrinsics so.
    targets = Cameras(poses, opencv_from_colmap(_intrinsics(given, others)))
    rendering = rasterize_at_published_scale(
        prediction.gaussians, targets, (side, side), torch.tensor([config["scene_scale"]])
    )
    _nearly_all_close(rendering.image[0].permute(0, 2, 3, 1), given["out.image"])
    _nearly_all_close(rendering.depth[0][..., None], given["out.depth"])
    name, step = suffix_step(given, "out.features")
    _nearly_all_close(rendering.features[0, :, :, ::step, ::step].movedim(1, -1), given[name])
    expanded = model.feature_compressor.expand(rendering.features)[0]
    truth = (_images(given, others) + 1) / 2  # published: features of the truth from images in [0, 1]
    target = lseg(truth)[0]
    for kind, features in (("expanded", expanded), ("target_features", target)):
        (name,) = (name for name in given if name.startswith(f"out.{kind}_s"))
        channel, row = (step_between(features.shape[axis], given[name].shape[axis]) for axis in (1, 2))
        _nearly_all_close(features[:, ::channel, ::row, ::row], given[name])
    logits = resize_logits(text_logits(expanded, encoder(LABELS), dim=1)[None], (side, side))[0]
    _nearly_all_close(logits, given["out.logits"])

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
    given, config = vectors("uni3r_official"), header("uni3r_official")
    views, side = config["views"], config["image_size"]
    with torch.device("meta"):
        model = Uni3R(camera_head=True, depth_head=True)
    model = fill(model.to_empty(device="cpu"))
    for name, value in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
        getattr(model.backbone, name).copy_(torch.tensor(value).view(3, 1, 1))  # not of the state
    images, intrinsics = _images(given, range(views)), _intrinsics(given, range(views))
    lseg, encoder = _lseg(published_keys())
    features = lseg(images)
    text = encoder(LABELS)
    del lseg, encoder
    name, step = suffix_step(given, "out.lseg_features")
    assert_close(features[0, :1, ..., ::step, ::step], given[name], 5e-4)
    assert_close(text, torch.nn.functional.normalize(given["out.text_features"], dim=-1), 5e-4)
    logits = resize_logits(text_logits(features[0, :1], text, dim=1)[None], (side, side))[0]
    name, step = suffix_step(given, "out.lseg_logits")
    assert_close(logits[..., ::step, ::step], given[name], 5e-4)

    _check_tokens(model, images, intrinsics, given)
    prediction = model(images, intrinsics, features)
    _check_gaussians(prediction, given, views, side, 5e-4)
    assert_close(prediction.pose_encoding, given["out.pose_enc"], 5e-4)
    for published, maps in {
        "world_points": prediction.pointmaps.points,
        "world_points_conf": prediction.pointmaps.confidence,
        "depth": prediction.depth[..., None],
    }.items():
        name, step = suffix_step(given, f"out.{published}")
        assert_close(maps[:, :, ::step, ::step], given[name], 5e-4)
    name, step = suffix_step(given, "out.sh_dc")
    constant = _published_layout(prediction.gaussians.harmonics[:, :, 0], views, side)[:, :, ::step, ::step]
    assert_close(constant, given[name], 5e-4)


def _check_tokens(model: Uni3R, images: Tensor, intrinsics: Tensor, given: dict[str, Tensor]) -> None:
    """Every n-th token of [camera, registers, patches, intrinsics], and every n-th channel."""
    pyramid = model.backbone(images, intrinsics)
    depths = numbers_of(given, r"out\.tokens\.(\d+)_s\d+")
    _, step = suffix_step(given, f"out.tokens.{depths[0]}")
    first = -model.backbone.decoder.num_prefix_tokens % step  # of the patches, the first that is stored
    for depth, level in zip(depths, pyramid.levels, strict=True):
        expected = given[f"out.tokens.{depth}_s{step}"]
        assert_close(level[:, :, first::step, ::step], expected[:, :, 1:], 5e-4)
    assert_close(pyramid.camera_tokens[..., ::step], expected[:, :, 0], 5e-4)
