"""Refined cameras into the world of the network, and frames outside the connected part beside their neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.refinement.cameras.posed import posed
from common.refinement.types import RefinedCameras, Tracks

_ITERATIONS = 50


@dataclass(frozen=True)
class Similarity:
    """x -> scale rotation x + translation."""

    scale: float
    rotation: NDArray[np.float64]
    """(3, 3)"""
    translation: NDArray[np.float64]
    """(3,)"""

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moved points (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def poses(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moved camera-to-world poses (..., 4, 4), still rigid."""
        moved = poses.copy()
        moved[..., :3, :3] = self.rotation @ poses[..., :3, :3]
        moved[..., :3, 3] = self.points(poses[..., :3, 3])
        return moved


def scaling(factor: float) -> Similarity:
    """x -> factor x."""
    return Similarity(factor, np.eye(3), np.zeros(3))


def moved_cameras(refined: RefinedCameras, similarity: Similarity) -> RefinedCameras:
    """The same cameras and tracks in a moved world."""
    poses, placed = (
        torch.from_numpy(similarity.poses(poses.double().numpy())).float()
        for poses in (refined.camera_to_world, refined.placed)
    )
    points = torch.from_numpy(similarity.points(refined.tracks.point.double().numpy())).float()
    return replace(
        refined,
        camera_to_world=poses,
        placed=placed,
        placed_scale=similarity.scale * refined.placed_scale,
        depth_scale=similarity.scale * refined.depth_scale,
        tracks=replace(refined.tracks, point=points),
    )


def depth_ratios(
    poses: NDArray[np.float64], tracks: Tracks, network_depth: NDArray[np.float64], least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors from the network's depth of each frame to the depth of its tracks.

    Args:
        poses: (N, 4, 4) camera-to-world.
        tracks: points and observations.
        network_depth: (O,) the network's depth at each observation, NaN where it has none.
        least: observations with a depth, at least.

    Returns:
        (N,) median ratio of the points' depth to the network's, NaN with fewer; and (N,) its spread in the logarithm.
    """
    ratios, spreads = np.full(len(poses), np.nan), np.full(len(poses), np.nan)
    frame = tracks.frame.numpy()
    point = tracks.point.numpy().astype(np.float64)[tracks.point_index.numpy()]
    centre, axis = poses[frame, :3, 3], poses[frame, :3, 2]
    depth = ((point - centre) * axis).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        log = np.log(np.where(depth > 0, depth, np.nan) / network_depth)
    for index in np.unique(frame):
        own = log[frame == index]
        own = own[np.isfinite(own)]
        if len(own) >= least:
            ratios[index] = np.exp(np.median(own))
            spreads[index] = np.median(np.abs(own - np.median(own)))
    return ratios, spreads


def world_alignment(
    refined: NDArray[np.float64], network: NDArray[np.float64], ratios: NDArray[np.float64]
) -> Similarity:
    """The similarity that puts refined cameras where the network had them.

    The network's path may bend badly, so every part is a median over frames. The scale is that of depths or that of
    distances between frames, whichever frames agree on better.

    Args:
        refined: (N, 4, 4) camera-to-world, NaN where there is none.
        network: (N, 4, 4) the same frames' poses in the network's world, NaN where there is none.
        ratios: (N,) of `depth_ratios`.
    """
    both = posed(refined) & posed(network)
    scale = _common_scale(refined, network, ratios, both)
    if not both.any():
        return Similarity(scale, np.eye(3), np.zeros(3))
    rotation = median_rotation(network[both, :3, :3] @ refined[both, :3, :3].swapaxes(1, 2))
    offsets = network[both, :3, 3] - scale * refined[both, :3, 3] @ rotation.T
    return Similarity(scale, rotation, _median_point(offsets))


def place_the_rest(
    refined: NDArray[np.float64], network: NDArray[np.float64], scales: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frames without a refined pose keep the network's, relative to the nearest refined frames on either side.

    Args:
        refined: (N, 4, 4), NaN where there is none.
        network: (N, 4, 4), NaN where there is none.
        scales: (N,) refined world unit over the network's at refined frames; NaN is taken as one.

    Returns:
        (N, 4, 4) poses of all frames that the network has a pose for, and (N,) the scale beside each.
    """
    placed, scale = refined.copy(), np.where(np.isfinite(scales), scales, 1.0)
    has = posed(network)
    anchors = np.flatnonzero(posed(refined) & has)
    missing = np.flatnonzero(~posed(refined) & has)
    if not len(anchors):
        placed[missing] = network[missing]
        return placed, scale
    for frame in missing:
        before, after = anchors[anchors < frame], anchors[anchors > frame]
        ends = [index for index in (before[-1:], after[:1]) if len(index)]
        near = np.concatenate(ends)
        weight = 1 / np.abs(near - frame)
        weight = weight / weight.sum()
        local = np.exp((weight * np.log(scale[near])).sum())
        turns = refined[near, :3, :3] @ network[near, :3, :3].swapaxes(1, 2)
        steps = local * (network[frame, :3, 3] - network[near, :3, 3])
        positions = refined[near, :3, 3] + np.einsum("kij,kj->ki", turns, steps)
        placed[frame] = np.eye(4)
        placed[frame, :3, :3] = Rotation.from_matrix(turns).mean(weight).as_matrix() @ network[frame, :3, :3]
        placed[frame, :3, 3] = weight @ positions
        scale[frame] = local
    return placed, scale


def _common_scale(
    refined: NDArray[np.float64], network: NDArray[np.float64], ratios: NDArray[np.float64], both: NDArray[np.bool_]
) -> float:
    """Factor from the refined unit to the network's."""
    guesses = []
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(known):
        guesses.append(-np.log(known))
    frames = np.flatnonzero(both)
    if len(frames) > 1:
        index = np.arange(len(frames))
        first, second = np.concatenate(
            [[index[:-step], index[step:]] for step in {1, len(frames) // 2} if step], axis=1
        )
        before = np.linalg.norm(network[frames[first], :3, 3] - network[frames[second], :3, 3], axis=1)
        after = np.linalg.norm(refined[frames[first], :3, 3] - refined[frames[second], :3, 3], axis=1)
        moved = (before > 0) & (after > 0)
        if moved.any():
            guesses.append(np.log(before[moved] / after[moved]))
    if not guesses:
        return 1.0
    spread = [float(np.median(np.abs(guess - np.median(guess)))) + 1 / len(guess) for guess in guesses]
    return float(np.exp(np.median(guesses[int(np.argmin(spread))])))


def median_rotation(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """L1 mean of (N, 3, 3) rotations by reweighting (Hartley et al. 2011)."""
    all_rotations = Rotation.from_matrix(rotations)
    centre = Rotation.from_matrix(rotations[_medoid(all_rotations)])
    for _ in range(_ITERATIONS):
        vectors = (all_rotations * centre.inv()).as_rotvec()
        weights = 1 / np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)
        step = (weights[:, None] * vectors).sum(axis=0) / weights.sum()
        centre = Rotation.from_rotvec(step) * centre
        if np.linalg.norm(step) < 1e-9:
            break
    return centre.as_matrix()


def _medoid(rotations: Rotation, sample: int = 200) -> int:
    """Index of the rotation nearest to all others, among at most `sample`."""
    chosen = np.linspace(0, len(rotations) - 1, min(sample, len(rotations))).astype(int)
    cost = [(rotations[chosen] * rotations[int(index)].inv()).magnitude().sum() for index in chosen]
    return int(chosen[int(np.argmin(cost))])


def _median_point(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric median of (N, 3) points (Weiszfeld 1937)."""
    centre = np.median(points, axis=0)
    for _ in range(_ITERATIONS):
        weights = 1 / np.maximum(np.linalg.norm(points - centre, axis=1), 1e-9)
        centre = (weights[:, None] * points).sum(axis=0) / weights.sum()
    return centre
