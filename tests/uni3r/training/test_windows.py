"""Uni3R's choice of frames, against the published protocol."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from common.data.scenes.scene_folder import RgbdScene
from tests.support.uni3r_parity import find
from uni3r.training.view_selection import ViewSelection, split_views
from uni3r.training.windows import ContextTargetWindows, TestWindows

GENERATOR = np.random.default_rng(0)
SCANNETPP = {"min_frames": 129, "max_frames": 200}
"""The published limits of that set."""


def scene(name: str, frames: int) -> RgbdScene:
    return RgbdScene(Path(name), {"frames": frames})


@pytest.fixture(scope="module")
def protocol() -> dict:
    return json.loads(find("protocol.json").read_text())


def view_counts(part: dict) -> list[int]:
    """The numbers of context views that a part of the protocol lists."""
    counts = [int(key) for key in part if key.isdigit()]
    assert counts
    return counts


def training_scenes(train: dict, kind: str) -> tuple[list[RgbdScene], dict]:
    """The imaginary scenes of one set, and the options of its rule."""
    if kind == "scannetpp":
        return [scene(name, count) for name, count in train["scannetpp_images"].items()], SCANNETPP
    scenes = [scene(f"scene{k:04d}_00", train["scannet_frames_per_scene"]) for k in range(train["scannet_scenes"])]
    return [*scenes, scene("short", train["scannet_short_scene_frames"])], {}


@pytest.mark.parametrize("kind", ["scannet", "scannetpp"])
def test_published_training_windows(protocol, kind):
    scenes, options = training_scenes(protocol["train"], kind)
    for views in view_counts(protocol["train"][kind]):
        check_training_windows(ContextTargetWindows(views, **options), scenes, views, protocol["train"][kind])


def check_training_windows(rule: ContextTargetWindows, scenes: list[RgbdScene], views: int, recorded: dict) -> None:
    expected = recorded[str(views)]
    windows = [(part, index) for part in scenes for index in range(rule.count(part))]
    assert len(windows) == expected["count"]
    frames = [(part.name, rule.frames(part, index, GENERATOR).tolist()) for part, index in windows]
    pairs = [[name, str(found[0]), str(found[views - 1])] for name, found in frames]
    first, last = expected["first"], expected["last"]
    assert pairs[: len(first)] == first and pairs[-len(last) :] == last
    by_pair = {(name, found[0], found[views - 1]): found for name, found in frames}
    assert len(by_pair) == len(frames)
    for sample in expected["samples"]:
        assert by_pair[tuple(sample["pair"])] == sample["frames"]


def test_published_test_windows(protocol):
    test = protocol["test"]
    for views in view_counts(test):
        check_test_windows(test, views)


def check_test_windows(test: dict, views: int) -> None:
    names = [name for name in test["scenes"] if "ignored" not in name]
    scenes = [scene(name, test["images_per_scene"]) for name in names]
    rule = TestWindows(views)
    windows = [
        [part.name, [f"{37 * frame:06d}" for frame in rule.frames(part, index, GENERATOR).tolist()]]
        for part in scenes
        for index in range(rule.count(part))
    ]
    assert len(windows) == test[str(views)]["length"]
    expected = test[str(views)]["order"]
    assert windows[: len(expected)] == expected


def test_published_split_of_a_window(protocol):
    for count, expected in protocol["batch_split"].items():
        split = split_views(int(count), ViewSelection(), None)
        assert split.context == expected["context"]
        assert split.rendered == expected["rendered_in_training"]


def test_windows_by_enumeration():
    """The closed form of the order agrees with two nested loops, thinned scenes and four views included."""
    for views, frames, limit in ((2, 33, None), (4, 50, None), (8, 40, 15), (4, 1000, 200), (16, 61, None)):
        rule = ContextTargetWindows(views, max_frames=limit)
        thinning = 1 if limit is None or frames <= limit else frames // limit
        kept = list(range(0, frames, thinning))
        pairs = [
            (kept[start], kept[start + step * (views - 1)])
            for start in range(len(kept))
            for step in (2, 4)
            if start + step * (views - 1) < len(kept)
        ]
        place = scene("a", frames)
        found = [rule.frames(place, index, GENERATOR) for index in range(rule.count(place))]
        assert [(int(window[0]), int(window[views - 1])) for window in found] == pairs
        assert all(window.max() < frames and len(set(window.tolist())) == 2 * views - 1 for window in found)


def test_windows_of_the_arbitrary_view_release():
    """All pairs over the six published gaps, ordered by start and gap; the gap tells the number of context views."""
    gaps = {2: 2, 4: 2, 6: 4, 12: 4, 14: 8, 28: 8}
    rule, place = ContextTargetWindows((2, 4, 8)), scene("a", 40)
    found = [rule.frames(place, index, GENERATOR).tolist() for index in range(rule.count(place))]
    assert [(window[0], max(window)) for window in found] == [
        (start, start + gap) for start in range(40) for gap in gaps if start + gap < 40
    ]
    for window in found:
        views = gaps[max(window) - window[0]]
        context, targets = window[:views], window[views:]
        assert len(targets) == views - 1 and context == sorted(context)
        assert targets == [(first + second) // 2 for first, second in pairwise(context)]
    for wrong in ((), (2, 1)):
        with pytest.raises(ValueError, match="at least 2 context views"):
            ContextTargetWindows(wrong)


def test_test_windows_clamp_at_the_ends_and_leave_out_short_scenes():
    assert TestWindows(2).frames(scene("a", 5), 1, GENERATOR).tolist() == [3, 4, 4]
    assert [TestWindows(16).count(scene("a", frames)) for frames in (30, 31)] == [0, 1]
    assert ContextTargetWindows(2).count(scene("a", 32)) == 0
    with pytest.raises(IndexError):
        ContextTargetWindows(2).frames(scene("a", 40), 74, GENERATOR)
    with pytest.raises(ValueError, match="even steps"):
        ContextTargetWindows(2, steps=(3,))
