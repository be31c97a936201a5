"""Nothing has changed since parity with the published code was proven.

The vectors were recorded by `tests/support/make_goldens.py` on procedural frames at a revision that passed every
vector of ``../shared/parity``; they need no file from outside the repository.
"""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from tests.support.make_goldens import DECISIONS, TENSORS, record_networks, record_pipeline
from tests.support.parity import DPT_TOLERANCE, TOLERANCE, assert_close

STORED = load_file(TENSORS)


@pytest.fixture(scope="module")
def pipeline():
    return record_pipeline()


@pytest.fixture(scope="module")
def recorded(pipeline):
    return {**record_networks(), **pipeline[0]}


@pytest.mark.parametrize("name", STORED)
def test_numbers(recorded, name: str) -> None:
    assert_close(recorded[name], STORED[name], DPT_TOLERANCE if name.startswith("dpt_") else TOLERANCE)


def test_everything_that_is_recorded_is_stored(recorded) -> None:
    assert recorded.keys() == STORED.keys()


def test_every_decision_of_the_reconstruction(pipeline) -> None:
    assert pipeline[1] == json.loads(DECISIONS.read_text())
