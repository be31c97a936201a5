"""Two runs with the same settings are one run, and jobs of a multirun are different ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from common.command.line import multirun
from common.training.identity import differences, identity_of


def test_lists_and_nested_settings_count() -> None:
    before = identity_of({"seed": 0, "data": {"train": {"sets": ["a", {"length": 5}]}}})
    assert before == {"seed": 0, "data.train.sets[0]": "a", "data.train.sets[1].length": 5}
    now = identity_of("seed: 0\ndata: {train: {sets: [a, {length: 6}, b]}}\n")
    assert differences(before, now) == "data.train.sets[1].length is 6, was 5; data.train.sets[2] is b, was absent"


def test_places_and_speed_do_not_count() -> None:
    before = {"data": {"root": "/a", "num_workers": 1}, "threads": 1, "trainer": {"devices": 1}, "output": "a"}
    now = {"data": {"root": "/b", "num_workers": 8}, "threads": 2, "trainer": {"devices": 2}, "output": "b"}
    assert differences(identity_of(before), identity_of(now)) == ""


def test_many_differences_are_counted() -> None:
    assert differences({}, {f"model.{k}": k for k in range(9)}).endswith("; and 6 more")


@pytest.mark.parametrize(
    ("mode", "output"),
    [
        (RunMode.RUN, "outputs/a"),
        (RunMode.MULTIRUN, "outputs/a/job_2"),
    ],
)
def test_jobs_of_a_multirun_do_not_share_an_output(mode: RunMode, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = SimpleNamespace(mode=mode, job=SimpleNamespace(num=2))
    monkeypatch.setattr(multirun, "HydraConfig", SimpleNamespace(initialized=lambda: True, get=lambda: job))
    config = OmegaConf.create({"output": "outputs/a", "weights": "${output}/weights"})
    assert multirun.with_own_output(config).weights == f"{output}/weights"
