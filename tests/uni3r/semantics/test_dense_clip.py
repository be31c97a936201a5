"""Dense features of any open_clip transformer, on a small one with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.errors import CheckpointError
from uni3r.semantics import Query, Teacher
from uni3r.semantics.dense_clip import DenseClipTeacher

open_clip = pytest.importorskip("open_clip", reason="needs the extra 'uni3r'")


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> DenseClipTeacher:
    """A transformer of 3 blocks in open_clip's own classes."""

    def small(*_: object, **__: object) -> nn.Module:
        vision = {"width": 64, "layers": 3, "head_width": 16, "image_size": 48, "patch_size": 16}
        model = open_clip.CLIP(32, vision_cfg=vision, text_cfg={"width": 64, "layers": 2, "heads": 4})
        open_clip.model.set_model_preprocess_cfg(model, {"size": 48, "mean": (0.5,) * 3, "std": (0.5,) * 3})
        return model

    monkeypatch.setattr(open_clip, "create_model", small)
    return DenseClipTeacher("ViT-B-16", "openai")


def test_one_vector_per_patch_in_the_space_of_the_words(teacher: DenseClipTeacher) -> None:
    assert isinstance(teacher, Teacher)
    features = teacher.features(torch.rand(2, 3, 3, 32, 64) * 2 - 1)
    assert features.shape == (2, 3, 32, 3, 3) and teacher.width == 32
    assert Query.of(teacher, ["bed", "wall"]).segment(features, dim=-3, size=(32, 64)).shape == (2, 3, 32, 64)
    assert not teacher.train().model.training


def test_is_the_image_tower_itself_where_attention_mixes_nothing(teacher: DenseClipTeacher) -> None:
    """With equal tokens everywhere, attention is the identity: a patch is then what the tower says of any token."""
    visual = teacher.model.visual
    with torch.no_grad():
        visual.positional_embedding.zero_()
        visual.class_embedding.zero_()
        visual.conv1.weight.zero_()
    images = torch.rand(1, 1, 3, 48, 48) * 2 - 1
    expected = visual((images[0] + 1) / 2)  # all tokens alike, whatever the image
    features = teacher.features(images)[0, 0]
    torch.testing.assert_close(features, expected[0][:, None, None].expand_as(features), atol=1e-5, rtol=1e-4)


def test_weights_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Pretrained weights (nowhere) not found")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    with pytest.raises(CheckpointError, match=r"ViT-B-16 with weights 'nowhere'.*not found"):
        DenseClipTeacher("ViT-B-16", "nowhere")
