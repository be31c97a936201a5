"""Objects that words name: clusters of Gaussians in space, with upright boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from common.geometry.boxes import Box, fit_box
from common.geometry.up_axis import find_up
from uni3r.gaussians.gaussians import Gaussians
from uni3r.scene.scene_data import SceneData
from uni3r.scene.settings import ObjectSettings
from uni3r.semantics.query import Query
from uni3r.semantics.word_search import KNOWN_LENGTH


@dataclass(frozen=True)
class FoundObject:
    """One object."""

    word: str
    confidence: float
    """Mean probability of the word, against the classes that compete with it, over the object's Gaussians."""
    box: Box
    """Upright box, in the world and unit of the scene."""
    members: Tensor
    """(M,) indices of its Gaussians."""


def find_objects(scene: SceneData, query: Query, settings: ObjectSettings | None = None) -> list[FoundObject]:
    """Find the objects of a scene that words name.

    Args:
        scene: scene with features.
        query: the words, each against the classes of the model (`Query.of` with a label set as negatives). Words that
            the model does not know find nothing.
        settings: see `ObjectSettings`.

    Returns:
        Objects in the order of the words, the most confident first.
    """
    settings = settings or ObjectSettings()
    assert scene.gaussians.features is not None, "objects need Gaussians with features"
    features = scene.word_vectors(scene.gaussians.features[0])
    up = find_up(scene.cameras.camera_to_world[scene.posed].cpu().double().numpy())
    return cluster_objects(scene.gaussians, features, query, up, scene.median_depth, settings)


@torch.no_grad()
def cluster_objects(
    gaussians: Gaussians,
    features: Tensor,
    query: Query,
    up: NDArray[np.float64],
    depth: float,
    settings: ObjectSettings,
) -> list[FoundObject]:
    """Group Gaussians that a word names by distance.

    Args:
        gaussians: (1, N).
        features: (N, C) of the Gaussians in the space of words.
        query: see `find_objects`.
        up: (3,) up axis of the world.
        depth: median depth of the scene, which lengths of the settings are shares of.
        settings: see `ObjectSettings`.
    """
    points = gaussians.means[0].double().cpu().numpy()
    solid = (gaussians.opacities[0] >= settings.min_opacity).cpu().numpy() & np.isfinite(points).all(axis=1)
    indices = np.flatnonzero(solid)
    if len(indices) == 0:
        return []
    points = points[indices]
    own_shares = query.to(features.device).share(features[torch.from_numpy(indices).to(features.device)])
    shares = _smoothed(own_shares.double().cpu().numpy(), points, settings.neighbours)
    known = (query.text.norm(dim=-1) >= KNOWN_LENGTH).tolist()
    least = max(1, round(settings.min_size * gaussians.count))
    found = []
    for number, word in enumerate(query.labels.names):
        chosen = np.flatnonzero(shares[:, number] > settings.min_share) if known[number] else np.empty(0, np.int64)
        objects = []
        for part in _clusters(points[chosen], settings.gap * depth):
            if len(part) < least:
                continue
            own = chosen[part]
            box = fit_box(points[own], up, settings.trim)
            members = torch.from_numpy(indices[own])
            objects.append(FoundObject(word, float(shares[own, number].mean()), box, members))
        found += sorted(objects, key=lambda one: -one.confidence)
    return found


def _smoothed(shares: NDArray[np.float64], points: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """(N, W) means over the nearest Gaussians: single ones are often taken for something else."""
    count = min(neighbours, len(points))
    nearest = cKDTree(points).query(points, k=[*range(1, count + 1)])[1]
    return shares[nearest].mean(axis=1)


def _clusters(points: NDArray[np.float64], gap: float) -> list[NDArray[np.int64]]:
    """Indices of points that are connected by steps of up to about a gap: neighbouring cells of a grid are."""
    if len(points) == 0:
        return []
    cells, member = np.unique(np.floor(points / gap).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(1.8, output_type="ndarray")  # the 26 neighbours
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    count, group = connected_components(graph, directed=False)
    label = group[member.reshape(-1)]
    order = np.argsort(label, kind="stable")
    return np.split(order, np.searchsorted(label[order], np.arange(1, count)))
