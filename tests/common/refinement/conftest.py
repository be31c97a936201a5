"""Two filmed rooms that the tests of refinement share."""

from __future__ import annotations

import pytest
import torch

from tests.support.filmed_room import FilmedRoom, film


@pytest.fixture(scope="session")
def room() -> FilmedRoom:
    """Twelve pictures of a room."""
    torch.manual_seed(0)
    return film(7)


@pytest.fixture(scope="session")
def other_room() -> FilmedRoom:
    """Twelve pictures of another room."""
    return film(11)
