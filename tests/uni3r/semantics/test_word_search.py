"""Heat of words: relative to the classes that compete, to the scene, and none for what is not there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uni3r.semantics.labels import label_set_of_words
from uni3r.semantics.text_encoder import Words, embed_words
from uni3r.semantics.word_search import WordSearch, unknown_words_note

AXES = {"sofa": 0, "chair": 1, "wall": 2, "object": 3, "things": 3, "stuff": 3, "texture": 3}
LABELS = label_set_of_words(["sofa", "chair", "wall"])


class AxisTeacher:
    """Known words lie on axes of their own; "couch" is near "sofa", "whale" like nothing that was learnt."""

    width = 5

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        vectors = torch.zeros(len(prompts), self.width)
        for row, prompt in enumerate(prompts):
            if prompt == "couch":
                vectors[row, [0, 4]] = torch.tensor([0.8, 0.6])
            else:
                vectors[row, AXES.get(prompt, 4)] = 1
        return vectors

    def text(self, words: Words, templates: Sequence[str] = ("{}",)) -> Tensor:
        return embed_words(self, words, templates)


def room(sofa: float) -> Tensor:
    """(1, 5, 4, 8) a wall, a chair in the lower left, and in the lower right a sofa that is half taken for a chair."""
    features = torch.zeros(1, 5, 4, 8)
    features[:, 2] = 1
    features[:, 2, 2:] = 0
    features[:, 1, 2:, :4] = 1
    features[:, 0, 2:, 4:], features[:, 1, 2:, 4:] = sofa, 1 - sofa
    return features


def test_a_word_lights_its_thing_and_a_synonym_too() -> None:
    search = WordSearch.of(AxisTeacher(), ["sofa", "couch"], LABELS)
    heat = search.heat(room(sofa=0.9))
    assert heat.shape == (1, 2, 4, 8) and search.words == ("sofa", "couch")
    for word in heat[0]:
        assert (word[2:, 4:] > 0.9).all() and (word[:2] < 0.3).all() and (word[2:, :4] < 0.3).all()


def test_a_thing_that_the_model_only_half_knows_is_the_brightest_still() -> None:
    features = room(sofa=0.45)  # rather a chair
    heat = WordSearch.of(AxisTeacher(), ["sofa", "chair"], LABELS).heat(features)[0]
    assert (heat[0, 2:, 4:] > 0.9).all() and (heat[0, 2:, :4] < 0.3).all()
    assert (heat[1, 2:, :4] > 0.9).all() and (heat[1, :2] < 0.3).all()


def test_what_is_not_there_and_where_nothing_is_stays_dark() -> None:
    features = room(sofa=0.9)
    features[..., 0] = 0  # nothing was rendered here
    heat = WordSearch.of(AxisTeacher(), ["whale", "wall"], LABELS).heat(features)[0]
    assert not heat[0].any()
    assert not heat[1, :, 0].any() and (heat[1, :2, 1:] > 0.9).all()


def test_a_word_of_which_the_classes_say_little_is_unknown_and_dark() -> None:
    """Scores are relative, so something would light up all the same: the length of the word decides."""

    class ShortTeacher(AxisTeacher):
        def text(self, words: Words, templates: Sequence[str] = ("{}",)) -> Tensor:
            vectors = super().text(words, templates)
            for row, word in enumerate(words):
                if "canapé" in word:
                    vectors[row] = 0.25 * torch.eye(self.width)[0]  # the direction of the sofa
            return vectors

    search = WordSearch.of(ShortTeacher(), ["sofa", "canapé", "couch"], LABELS)
    heat = search.heat(room(sofa=0.9))[0]
    assert search.unknown_words == ("canapé",) and not heat[1].any()
    assert (heat[0, 2:, 4:] > 0.9).all() and (heat[2, 2:, 4:] > 0.9).all()
    note = unknown_words_note(search.unknown_words, LABELS)
    assert note.startswith("not known to this model and left dark: canapé. It knows sofa, chair, wall")


def test_a_word_that_fills_the_view_is_bright_all_over() -> None:
    walls = torch.zeros(2, 5, 4, 4)
    walls[:, 2] = 1
    assert (WordSearch.of(AxisTeacher(), ["wall"], LABELS).heat(walls) > 0.9).all()
