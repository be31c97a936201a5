"""Asking features with words: logits, masks, segmentation and relevance, on an encoder whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.errors import ConfigurationError
from uni3r.semantics import LabelTeacher, Query, TextSide, embed_words, load_label_set, text_logits
from uni3r.semantics.labels import LabelSet, SemanticClass, label_set_of_words
from uni3r.semantics.text_encoder import Words

AXES = {"chair": 0, "table": 1, "sofa": 2, "object": 3, "things": 3, "stuff": 3, "texture": 3}


class AxisEncoder:
    """Known words lie on axes of their own; "couch" is near "sofa"; a prompt is read by its last word."""

    width = 6

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        vectors = torch.zeros(len(prompts), self.width)
        for row, prompt in enumerate(prompts):
            word = prompt.split()[-1]
            if word == "couch":
                vectors[row, [2, 4]] = torch.tensor([0.8, 0.6])
            else:
                vectors[row, AXES.get(word, 5)] = 1
        return vectors

    def text(self, words: Words, templates: Sequence[str] = ("{}",)) -> Tensor:
        return embed_words(self, words, templates)


ENCODER = AxisEncoder()


def test_logits_are_cosines_over_the_temperature_on_any_axis() -> None:
    gaussians = 3 * torch.randn(2, 5, 6)
    text = ENCODER.text(["chair", "couch"])
    expected = torch.cosine_similarity(gaussians[:, :, None], text, dim=-1) / 0.07
    torch.testing.assert_close(text_logits(gaussians, text), expected)
    images = gaussians.movedim(-1, 1)[:, None, :, None]  # (B, V, C, 1, N)
    torch.testing.assert_close(text_logits(images, text, dim=-3)[:, 0, :, 0].movedim(1, -1), expected)


def test_an_empty_pixel_is_nothing() -> None:
    empty = torch.zeros(1, 6)
    query = Query.of(ENCODER, ["chair"])
    assert query.logits(empty).tolist() == [[0.0]]
    assert query.relevance(empty).tolist() == [[0.0]]
    assert not query.masks(empty).any()


def test_synonyms_find_their_class() -> None:
    query = Query.of(ENCODER, ["chair", "table", "couch"])
    pixels = torch.zeros(1, 1, 6, 4, 4)
    pixels[:, :, 2] = 1  # a sofa everywhere,
    pixels[:, :, 2, :2], pixels[:, :, 1, :2] = 0, 0.5  # but a table in the upper half
    segmentation = query.segment(pixels, dim=-3)
    assert segmentation.dtype == torch.int64 and segmentation.shape == (1, 1, 4, 4)
    assert (segmentation[..., :2, :] == 1).all() and (segmentation[..., 2:, :] == 2).all()
    larger = query.segment(pixels, dim=-3, size=(7, 7))
    assert larger.shape == (1, 1, 7, 7) and (larger[..., :3, :] == 1).all() and (larger[..., 4:, :] == 2).all()


def test_relevance_is_the_softmax_against_the_hardest_negative() -> None:
    feature = normalize(torch.tensor([[0.6, 0.0, 0.2, 0.5, 0.0, 0.0]]), dim=-1)
    query = Query.of(ENCODER, ["chair", "table"], negatives=["object", "sofa"], scale=10.0)
    expected = torch.sigmoid(10 * (feature[0, :2] - feature[0, 3]))  # "object" is nearer than "sofa"
    torch.testing.assert_close(query.relevance(feature)[0], expected)
    assert query.masks(feature).tolist() == [[True, False]]


def test_relevance_against_a_label_set_leaves_out_the_class_that_is_meant() -> None:
    labels = label_set_of_words(["chair", "table", "sofa"])
    query = Query.of(ENCODER, ["couch", "table"], negatives=labels, scale=10.0)
    assert query.rivals.tolist() == [[True, True, False], [True, False, True]]
    pixels = torch.eye(6)[:3].T.reshape(1, 1, 6, 1, 3)  # a chair, a table, a sofa
    expected = torch.sigmoid(torch.tensor([[-10.0, -10.0, 8.0], [-10.0, 10.0, -10.0]]))
    torch.testing.assert_close(query.relevance(pixels, dim=-3)[0, 0, :, 0], expected)


def test_templates_and_groups_of_words_are_averaged() -> None:
    vectors = ENCODER.text([["sofa", "couch"], "chair"])
    torch.testing.assert_close(vectors[0], normalize(torch.tensor([0, 0, 1.8, 0, 0.6, 0]), dim=0))
    torch.testing.assert_close(ENCODER.text(["chair"], ["a {}", "photo of a {}"]), vectors[1:])


@pytest.mark.parametrize(
    ("words", "templates", "message"),
    [([], ["{}"], "at least one word"), ([" "], ["{}"], "takes words"), (["bed"], ["a bed"], "expected one '{}'")],
)
def test_empty_queries_and_templates_are_refused(words: list[str], templates: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embed_words(ENCODER, words, templates)


def test_features_of_another_space_are_refused() -> None:
    with pytest.raises(ValueError, match="features of 64 channels cannot be asked with words of 6 channels"):
        Query.of(ENCODER, ["bed"]).logits(torch.zeros(3, 64))


def test_shipped_label_sets() -> None:
    names = ("wall", "floor", "ceiling", "chair", "table", "sofa", "bed", "other")
    rooms, scannet = load_label_set("rooms"), load_label_set("scannet8")
    assert rooms.names == scannet.names == names
    assert scannet.words == [(name,) for name in names]  # the published prompt is the bare word
    nyu = load_label_set("nyu40")
    assert len(nyu) == 40 and len(set(map(tuple, nyu.colors.tolist()))) == 40
    assert [nyu.names[index - 1] for index in (1, 2, 5, 40)] == ["wall", "floor", "chair", "other prop"]


def test_bad_label_sets_name_the_file_and_the_fault(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nclasses:\n  - {name: bed, color: [0, 300, 0]}\n")
    with pytest.raises(ConfigurationError, match=r"mine\.yaml[\s\S]*bed: a colour is three numbers"):
        load_label_set(path)
    with pytest.raises(ConfigurationError, match="no label set room: expected one of nyu40, rooms, scannet8"):
        load_label_set("room")
    with pytest.raises(ConfigurationError, match="each with a name of its own"):
        label_set_of_words(["bed", "bed"])


def test_label_teacher_gives_cosines_of_the_full_space_in_few_channels() -> None:
    generator = torch.Generator().manual_seed(3)
    table = normalize(torch.randn(5, 40, generator=generator), dim=-1)

    class Table:
        width = 40

        def __call__(self, prompts: Sequence[str]) -> Tensor:
            return torch.stack([table[int(prompt)] for prompt in prompts])

    labels = LabelSet("numbers", tuple(SemanticClass(str(number), (number, 0, 0)) for number in range(3)))
    teacher = LabelTeacher(Table(), labels)
    assert isinstance(teacher, TextSide) and teacher.width == 3
    maps = torch.tensor([[[[0, 1], [2, 255]]]])
    features = teacher.features(torch.zeros(1, 1, 3, 2, 2), maps)
    assert features.shape == (1, 1, 3, 2, 2) and not features[..., 1, 1].any()
    asked = features[0, 0].flatten(1)[:, :3].T @ teacher.text(["0", "1", "2", "3", "4"]).T
    torch.testing.assert_close(asked, table[:3] @ table.T, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="these views have none"):
        teacher.features(torch.zeros(1, 1, 3, 2, 2))


def test_label_teacher_refuses_classes_that_mean_the_same() -> None:
    labels = LabelSet("twins", (SemanticClass("seat", (0, 0, 0), ("chair",)), SemanticClass("chair", (1, 1, 1))))
    with pytest.raises(ValueError, match="label set twins: the words of 'chair' say nothing new"):
        LabelTeacher(ENCODER, labels)
