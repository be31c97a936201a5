"""The choice of pairs."""

import numpy as np
import torch

from common.refinement.matching.features import Features
from common.refinement.matching.pairs import global_descriptors, select_pairs
from common.refinement.settings import MatchingSettings


def place_features(place: int, noise: int, count: int = 60) -> Features:
    """Features of one of many places, with some noise of the picture."""
    generator = torch.Generator().manual_seed(place)
    clean = torch.rand(count, 64, generator=generator)
    noisy = clean + 0.02 * torch.rand(count, 64, generator=torch.Generator().manual_seed(1000 + noise))
    unit = torch.nn.functional.normalize(noisy - 0.5, dim=1).half()
    return Features(np.zeros((count, 2)), unit)


def test_of_few_pictures_all_that_share_something_are_compared():
    features = [place_features(place, index) for index, place in enumerate([0, 1, 0, 2, 0, 1])]

    pairs = select_pairs(features, MatchingSettings())

    assert {(0, 4), (1, 5)} <= set(pairs)  # alike
    assert {(2, 3), (3, 5)} <= set(pairs)  # neighbours in time, which are always compared
    assert (0, 3) not in pairs and (1, 4) not in pairs


def test_the_number_of_pairs_is_linear_in_the_pictures():
    settings = MatchingSettings(all_pairs_up_to=10, partners_in_time=4, partners_alike=3)
    features = [place_features(0, index, 40) for index in range(60)]

    pairs = select_pairs(features, settings)

    assert len(pairs) == len(set(pairs)) <= 60 * (4 + 3)
    assert all(first < second for first, second in pairs)
    assert {(0, 1), (0, 2), (0, 4), (0, 8)} <= set(pairs)


def test_a_place_seen_again_is_found_by_its_features():
    settings = MatchingSettings(all_pairs_up_to=10, partners_in_time=3, partners_alike=3)
    features = [place_features(index % 20, index) for index in range(40)]

    pairs = select_pairs(features, settings)

    assert all((index, index + 20) in pairs for index in range(20))


def test_retrieval_scores_of_the_caller_propose_pairs():
    settings = MatchingSettings(all_pairs_up_to=10, partners_in_time=3, partners_alike=1)
    features = [place_features(index % 20, index) for index in range(40)]
    similarity = np.zeros((40, 40))
    similarity[5, 25] = 1.0

    assert (5, 25) in select_pairs(features, settings, similarity)


def test_pictures_of_one_place_have_similar_global_descriptors():
    vectors = global_descriptors([place_features(place, index) for index, place in enumerate([0, 1, 2, 0, 1, 2])])

    similarity = vectors @ vectors.T - 2 * torch.eye(6)
    assert similarity.argmax(dim=1).tolist() == [3, 4, 5, 0, 1, 2]


def test_pictures_without_features_are_no_trouble():
    empty = Features(np.zeros((0, 2)), torch.zeros(0, 64).half())

    assert select_pairs([empty] * 4, MatchingSettings())
    assert select_pairs([empty] * 12, MatchingSettings(all_pairs_up_to=5))
    assert select_pairs([empty], MatchingSettings()) == []
