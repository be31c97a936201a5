"""Local features."""

import numpy as np
import pytest
import torch

from common.refinement.matching.features import SiftExtractor, extract
from common.refinement.settings import MatchingSettings
from tests.support.filmed_room import picture


def blob(x: float, y: float) -> torch.Tensor:
    """A picture of one soft spot about a pixel."""
    rows, columns = np.mgrid[0:120, 0:160]
    spot = 60 + 150 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
    return torch.from_numpy(spot.astype(np.uint8)).expand(3, -1, -1)


def test_a_feature_lies_where_pixel_centres_are_integers():
    features = SiftExtractor()(picture(blob(70.0, 50.0)), 10)

    assert np.abs(features.xy - [70.0, 50.0]).max(axis=1).min() < 0.2


def test_descriptors_are_unit_vectors(room):
    features = SiftExtractor()(room.pictures[0], 500)

    assert len(features) > 100
    assert features.descriptors.dtype == torch.uint8
    assert features.unit_descriptors().norm(dim=1) == pytest.approx(np.ones(len(features)), abs=0.02)


def test_the_largest_features_are_kept(room):
    every, few = (SiftExtractor()(room.pictures[0], number) for number in (10_000, 50))

    assert len(few) == 50 < len(every)
    assert np.array_equal(few.xy, every.xy[:50])


def test_long_sequences_get_fewer_features_a_picture(room):
    settings = MatchingSettings(total_features=12 * 260)

    assert all(len(features) <= 260 for features in extract(room.pictures, settings, threads=2))


def test_nothing_is_found_in_a_blank_picture_or_behind_a_mask(room):
    blank = picture(torch.full((3, 120, 160), 128, dtype=torch.uint8))
    mask = torch.zeros(240, 320, dtype=torch.bool)
    mask[:, :100] = True
    half = picture(room.pictures[0].image)
    masked = type(half)(half.image, half.original_size, 0, half.network_from_working, "", mask)

    assert len(SiftExtractor()(blank, 100)) == 0
    assert SiftExtractor()(masked, 10_000).xy[:, 0].max() < 101


def test_gray_pictures_are_welcome(room):
    gray = picture(room.pictures[0].image[1:2])

    assert len(SiftExtractor()(gray, 1000)) > 100
