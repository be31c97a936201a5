"""LSeg and its text tower: numbers of the published code, the published file layouts, and staying frozen."""

from __future__ import annotations

import argparse
import re
import sys
import types
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.checkpoints.families.lseg import LSEG_IMAGE, LSEG_TEXT
from common.errors import CheckpointError
from tests.support.parity import assert_close
from tests.support.uni3r_parity import find, header, published_keys, toy_keys, vectors, weight_of
from tests.support.vector_files import numbers_of, suffix_step
from uni3r.semantics.lseg import LSeg
from uni3r.semantics.lseg_checkpoint import lseg_from_state, read_lseg

pytest.importorskip("open_clip", reason="the text tower needs the extra 'uni3r'")

from uni3r.semantics.clip_text import ClipTextEncoder
from uni3r.semantics.lseg_teacher import LSegTeacher
from uni3r.semantics.query import Query, resize_logits

TOLERANCE = 5e-5
TEXT = "uni3r_lseg_tiny_text"
"""The golden without the photograph."""
UNUSED = re.compile(r"clip_pretrained\.(visual|logit_scale)|pretrained\.model\.(norm|head)")


def filled(keys: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights by the rule under published names; those that LSeg never runs are zero."""
    state = {}
    for key, shape in keys.items():
        if key.endswith("num_batches_tracked") or UNUSED.match(key):
            state[key] = torch.zeros(shape, dtype=torch.int64 if key.endswith("tracked") else torch.float32)
        else:
            state[key] = weight_of(key, torch.Size(shape))
    return state


@cache
def tiny_state() -> dict[str, Tensor]:
    return filled(toy_keys("lseg_tiny"))


@cache
def tiny_network() -> LSeg:
    return lseg_from_state(tiny_state(), "tiny", num_heads=header("lseg_tiny", TEXT)["tiny"]["heads"])


@cache
def tiny_encoder() -> ClipTextEncoder:
    return ClipTextEncoder.from_state(tiny_state(), "tiny", num_heads=header("lseg_tiny", TEXT)["tiny"]["text_heads"])


def image(name: str) -> Tensor:
    """(1, 1, 3, H, W) in [-1, 1]."""
    return vectors(name)["in.image_uint8"].permute(2, 0, 1)[None, None].float() / 127.5 - 1


def check_features(name: str, network: LSeg, encoder: ClipTextEncoder) -> None:
    """Every stage of the published network. The recorded stages inside it belong to the image in [0, 1]."""
    expected = vectors(name)
    images = image(name)
    assert list(network.sizes.levels) == header(name)["hooks"]
    with torch.no_grad():
        streams, _ = network.encoder.forward_levels((images[0] + 1) / 2, network.sizes.levels)
        for number, stream in zip(numbers_of(expected, r"out\.hook_(\d+)"), streams, strict=True):
            recorded = expected[f"out.hook_{number}"]
            assert_close(stream[:, : recorded.shape[1]], recorded, TOLERANCE)
        tensor, step = suffix_step(expected, "out.path_1")
        assert_close(network.fused((images[0] + 1) / 2)[..., ::step, ::step], expected[tensor], TOLERANCE)
    teacher = LSegTeacher(network, encoder)
    features = teacher.features(images)
    assert features.shape[-2:] == expected["out.logits_half"].shape[-2:]
    tensor, step = suffix_step(expected, "out.features")
    assert_close(features[0, ..., ::step, ::step], expected[tensor], TOLERANCE)
    assert_close(features[0].mean(dim=(-2, -1)), expected["out.features_mean"], TOLERANCE)
    assert_close(features[0].std(dim=(-2, -1)), expected["out.features_std"], TOLERANCE)
    published = LSegTeacher(network, encoder, image_range="zero_to_one").features(images)
    tensor, step = suffix_step(expected, "out.features_of_01_range")
    assert_close(published[0, ..., ::step, ::step], expected[tensor], TOLERANCE)
    query = Query.of(teacher, header(name)["labels"])
    logits = query.logits(features, dim=-3)
    assert_close(logits[0], expected["out.logits_half"], TOLERANCE)
    assert_close(resize_logits(logits, images.shape[-2:])[0], expected["out.logits"], TOLERANCE)


def test_features_and_logits_are_those_of_the_published_network() -> None:
    check_features("lseg_tiny", tiny_network(), tiny_encoder())


@pytest.mark.slow
def test_features_and_logits_at_published_size() -> None:
    find("lseg_official.safetensors")  # skips before the long part
    prefix = "lseg_feature_extractor."
    keys = {key.removeprefix(prefix): shape for key, shape in published_keys().items() if key.startswith(prefix)}
    state = filled(keys)
    check_features("lseg_official", lseg_from_state(state, "official"), ClipTextEncoder.from_state(state, "official"))


def test_text_is_that_of_the_published_tower() -> None:
    expected, config = vectors("lseg_tiny", TEXT), header("lseg_tiny", TEXT)
    encoder = tiny_encoder()
    assert torch.equal(encoder.tokenize(config["labels"]).int(), expected["in.tokens"])
    assert torch.equal(encoder.tokenize(config["extra_prompts"]).int(), expected["out.extra_tokens"])
    assert_close(encoder(config["labels"]), nn.functional.normalize(expected["out.text_features"], dim=-1), TOLERANCE)


def test_every_published_tensor_has_one_place_or_a_reason_to_be_left_out() -> None:
    prefix = "lseg_feature_extractor."
    keys = {key.removeprefix(prefix): tuple(shape) for key, shape in published_keys().items() if key.startswith(prefix)}
    assert len(keys) == 730
    with torch.device("meta"):
        parts = {LSEG_IMAGE: LSeg().state_dict(), LSEG_TEXT: ClipTextEncoder().tower.state_dict()}
    for key_map, own in parts.items():
        placed = {ours: shape for key, shape in keys.items() if (ours := key_map.rename(key)) is not None}
        assert placed == {key: tuple(tensor.shape) for key, tensor in own.items()}
    both = [key for key in keys if LSEG_IMAGE.rename(key) is not None and LSEG_TEXT.rename(key) is not None]
    neither = [key for key in keys if LSEG_IMAGE.rename(key) is None and LSEG_TEXT.rename(key) is None]
    assert not both
    assert {key.split(".")[0] for key in neither} == {"clip_pretrained", "pretrained", "scratch"}
    assert all(UNUSED.match(key) or key.startswith("scratch.refinenet4.resConfUnit1.") for key in neither)


def test_stays_frozen_inside_a_model_in_training() -> None:
    network = tiny_network()
    parent = nn.ModuleDict({"teacher": LSegTeacher(network, tiny_encoder())})
    images = torch.rand(1, 2, 3, 32, 64) * 2 - 1
    before = network(images)
    running = network.body.fusions[0].unit.norm1.running_mean.clone()
    parent.train()
    assert parent.training and not any(module.training for module in network.modules())
    assert torch.equal(network(images), before)
    assert torch.equal(network.body.fusions[0].unit.norm1.running_mean, running)
    assert not any(parameter.requires_grad for parameter in parent.parameters())


def test_refuses_sizes_it_cannot_fuse() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32, got 48 x 64"):
        tiny_network()(torch.zeros(1, 1, 3, 48, 64))


def _lightning_file(path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """A training file as Lightning wrote it: callbacks under their class, hyper-parameters as an object."""
    trainer = types.ModuleType("pytorch_lightning.parsing")

    class AttributeDict(dict):
        pass

    class Callback:
        pass

    for kind in (AttributeDict, Callback):
        kind.__module__, kind.__qualname__ = trainer.__name__, kind.__name__
        setattr(trainer, kind.__name__, kind)
    callback = Callback()
    callback.best = 0.3
    hyper = AttributeDict(backbone="clip_vitl16_384", namespace=argparse.Namespace(lr=0.1))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, trainer.__name__, trainer)
        content = {"epoch": 200, "state_dict": {f"net.{key}": value for key, value in state.items()}}
        torch.save({**content, "callbacks": {Callback: callback}, "hyper_parameters": hyper}, path)


def test_reads_the_lightning_file_without_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {key: tensor for key, tensor in tiny_state().items() if key.startswith("scratch.head1.")}
    _lightning_file(tmp_path / "demo_e200.ckpt", some, monkeypatch)
    state = read_lseg(tmp_path / "demo_e200.ckpt")
    assert set(state) == set(some)
    assert all(torch.equal(state[key], tensor) for key, tensor in some.items())


def test_runs_nothing_of_a_file_with_a_payload(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "bad.ckpt"
    torch.save({"state_dict": {"net.scratch.head1.weight": torch.zeros(1)}, "callbacks": Payload()}, path)
    with pytest.raises(CheckpointError, match=r"bad\.ckpt is not a readable checkpoint"):
        read_lseg(path)
    assert not (tmp_path / "executed").exists()


def test_reads_the_copy_inside_a_uni3r_file_in_half_precision(tmp_path: Path) -> None:
    prefix = "lseg_feature_extractor."
    half = {prefix + key: value.half() for key, value in tiny_state().items() if key.startswith("clip_pretrained.")}
    sign = {f"{prefix}scratch.head1.weight": torch.zeros(1), "dpt_head.norm.weight": torch.zeros(3)}
    save_file({**half, **sign}, tmp_path / "model.safetensors")
    encoder = ClipTextEncoder.from_state(read_lseg(tmp_path / "model.safetensors"), "model", num_heads=4)
    assert_close(encoder(["sofa", "bed"]), tiny_encoder()(["sofa", "bed"]), 2e-2)
    assert encoder.tower.text_projection.dtype == torch.float32


def test_names_what_does_not_fit(tmp_path: Path) -> None:
    state = dict(tiny_state())
    del state["scratch.refinenet2.resConfUnit2.bn1.running_mean"]
    state["scratch.layer1_rn.weight"] = torch.zeros(7, 256, 3, 3)
    with pytest.raises(CheckpointError) as caught:
        lseg_from_state(state, "broken.ckpt", num_heads=4)
    message = str(caught.value)
    assert "broken.ckpt" in message and "1 missing: body.fusions.1.unit.norm1.running_mean" in message
    assert "body.to_width.0.weight ((7, 256, 3, 3) in the checkpoint" in message
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors holds no LSeg network"):
        read_lseg(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors holds no text tower of CLIP"):
        ClipTextEncoder.from_pretrained(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*absent\.ckpt"):
        LSegTeacher.from_pretrained(tmp_path / "absent.ckpt")


def test_text_tower_from_a_plain_clip_file(tmp_path: Path) -> None:
    prefix = "clip_pretrained."
    plain = {key.removeprefix(prefix): value for key, value in tiny_state().items() if key.startswith(prefix)}
    save_file(plain, tmp_path / "clip.safetensors")
    encoder = ClipTextEncoder.from_pretrained(tmp_path / "clip.safetensors")  # one head of 64, so only the shape tells
    assert encoder(["wall"]).shape == (1, 512)
    assert torch.equal(encoder.tower.ln_final.weight, plain["ln_final.weight"])


# torch advises against TorchScript, but OpenAI published in it
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_text_tower_from_openais_own_torchscript_file(tmp_path: Path) -> None:
    encoder = ClipTextEncoder(width=64, depth=2, num_heads=1, vocabulary=49408)
    torch.jit.trace(encoder.tower, encoder.tokenize(["bed"])).save(str(tmp_path / "ViT-B-32.pt"))
    again = ClipTextEncoder.from_pretrained(tmp_path / "ViT-B-32.pt")
    assert torch.equal(again.text(["sofa", "bed"]), encoder.text(["sofa", "bed"]))


def test_weights_of_the_hub_are_asked_for_clearly_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = pytest.importorskip("open_clip")

    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("offline")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    with pytest.raises(CheckpointError, match="neither in the local cache nor reachable"):
        ClipTextEncoder.from_pretrained()
