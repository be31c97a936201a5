"""The words of the small model: offline, and a couch is a sofa."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from common.configuration import config_folder
from common.rooms import LABEL_NAMES
from uni3r.semantics import LabelTeacher, Query, Teacher, load_label_set
from uni3r.semantics.word_search import WordSearch

pytest.importorskip("wordllama", reason="word vectors need the extra 'text'")

SYNONYMS = {
    "wall": "stucco, cladding, masonry, bricks, wall paint, interior wall, wallpaper",
    "floor": "pavement, decking, vinyl flooring, marble floor, concrete floor, tatami, underfoot, persian carpet, rug, "
    "carpet, ground",
    "ceiling": "roofing, attic, skylight ceiling, stucco ceiling, rooftop, overhead lights, roof",
    "chair": "deck chair, easy chair, pew, ottoman, stools, footstool, lawn chair, seating, seat, armchair, stool",
    "table": "dressing table, kitchen island, altar, drafting table, bureau, picnic table, pool table, standing desk, "
    "desk, coffee table",
    "sofa": "leather couch, three-seater, davenport, corner couch, upholstered sofa, couch",
    "bed": "daybed, berth, waterbed, king-size bed, mattresses, place to sleep, bunks, sleeping mat, mattress",
    "other": "laptop, refrigerator, umbrella, shoes, tv screen, sunflower, novel, cardboard box, candlestick, trash",
}
"""Rooms as people speak of them; most are not among the words of the label set, and some are hard on purpose."""


@pytest.fixture(scope="module")
def teacher() -> Iterator[LabelTeacher]:
    """Built from the shipped configuration, with every connection refused."""

    def refuse(*_: object) -> None:
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            config = compose(config_name="teacher/labels")
        yield instantiate(config.teacher)


def test_the_shipped_teacher_fits_the_rooms(teacher: LabelTeacher) -> None:
    assert isinstance(teacher, Teacher)
    assert teacher.labels.names == LABEL_NAMES
    assert teacher.width == len(LABEL_NAMES)


def test_synonyms_find_their_class(teacher: LabelTeacher) -> None:
    words, truth = zip(*((w.strip(), k) for k, line in SYNONYMS.items() for w in line.split(",")), strict=True)
    scores = teacher.text(words) @ teacher.class_vectors[:-1].T
    found = [teacher.labels.names[index] for index in scores.argmax(dim=1).tolist()]
    right = {word for word, name, kind in zip(words, found, truth, strict=True) if name == kind}
    assert {"couch", "seat", "armchair", "stool", "desk", "rug", "carpet", "mattress", "roof"} <= right
    assert len(right) / len(words) >= 0.8, sorted(set(words) - right)  # 59 of 71


def test_words_that_the_model_does_not_know_are_told_from_those_it_knows(teacher: LabelTeacher) -> None:
    foreign = ["стул", "椅子", "asdfgh", "plafond", "диван", "床", "qwerty", "silla", "Tisch", "giraffe", "inflation"]
    search = WordSearch.of(teacher, [*foreign, "sofa", "couch", "desk", "rug", "stool", "door"], teacher.labels)
    assert search.unknown_words == tuple(foreign)
    words, truth = zip(*((w.strip(), k) for k, line in SYNONYMS.items() for w in line.split(",")), strict=True)
    search = WordSearch.of(teacher, words, teacher.labels)
    nearest = (teacher.text(words) @ teacher.class_vectors[:-1].T).argmax(dim=1).tolist()
    right = [teacher.labels.names[index] == kind for index, kind in zip(nearest, truth, strict=True)]
    lit = search.known.tolist()
    assert sum(known for known, is_right in zip(lit, right, strict=True) if is_right) / sum(right) >= 0.7
    assert not any(known for known, is_right in zip(lit, right, strict=True) if not is_right)


def test_classes_are_apart_and_case_does_not_matter(teacher: LabelTeacher) -> None:
    cosines = teacher.class_vectors[:-1] @ teacher.class_vectors[:-1].T
    assert cosines.fill_diagonal_(0).max() < 0.5
    assert torch.equal(teacher.text(["Dining Table "]), teacher.text(["dining table"]))


def test_a_room_of_labels_is_found_by_words_that_are_no_label(teacher: LabelTeacher) -> None:
    labels = torch.tensor([[[[5, 5, 3], [4, 4, 255]]]])  # sofa, chair, table
    features = teacher.features(torch.zeros(1, 1, 3, 2, 3), labels)
    query = Query.of(teacher, ["couch", "armchair", "desk"])
    assert query.segment(features, dim=-3)[0, 0].tolist()[0] == [0, 0, 1]
    assert query.segment(features, dim=-3)[0, 0, 1, :2].tolist() == [2, 2]
    alone = Query.of(teacher, ["couch"], negatives=teacher.labels)  # against all classes but the sofa
    assert alone.masks(features, dim=-3)[0, 0, 0].tolist() == [[True, True, False], [False, False, False]]


def test_importing_leaves_the_log_alone() -> None:
    code = (
        "import logging; from uni3r.semantics.word_vectors import WordVectors; before = logging.getLogger().level; "
        "WordVectors(); assert logging.getLogger().level == before and not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=config_folder().parent)


def test_the_label_set_is_that_of_the_rooms(teacher: LabelTeacher) -> None:
    assert load_label_set("rooms") == teacher.labels
