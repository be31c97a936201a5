"""Evidence for cameras and depths that nobody refined: do the pictures agree with them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from common.refinement.dense.consistency import (
    confirmed_pixels,
    confirmed_share,
    count_agreement,
    required_parallax,
)
from common.refinement.dense.depth_grid import fill_invalid
from common.refinement.dense.neighbours import candidate_views, choose_neighbours
from common.refinement.dense.settings import DenseSettings
from common.refinement.dense.views import dense_views
from common.refinement.inputs import Outlines, check_lengths, network_cameras, network_poses
from common.refinement.matching.backend import silence, usable_threads
from common.refinement.matching.epipolar import epipolar_errors
from common.refinement.matching.features import extract
from common.refinement.matching.pair_matching import PairMatches, match_pairs
from common.refinement.matching.pairs import select_pairs
from common.refinement.outcome import Verdict
from common.refinement.projection import pixel_unit
from common.refinement.settings import CameraSettings, MatchingSettings
from common.refinement.types import Camera, Picture, Prediction, RefinedDepth, Tracks

_FEATURES = 2048
_PARTNERS = 3  # of each picture: those 1, 2 and 4 frames away, and as many that look alike


@dataclass(frozen=True)
class Sample:
    """Some frames of a run, whose pictures were kept for a check."""

    pictures: Sequence[Picture]
    prediction: Prediction
    """Predictions for these frames."""
    complete: bool
    """The sample holds every frame of the run, so connectivity can be reported."""


def assess(sample: Sample, cameras: CameraSettings, dense: DenseSettings) -> Verdict:
    """Measure how well the network's own cameras and depths agree with the pictures.

    Raises:
        BackendMissingError: pycolmap is not installed.
    """
    check_lengths(sample.pictures, sample.prediction)
    count = len(sample.pictures)
    if count < 2:
        return Verdict(frames_checked=count, reason="a single frame")
    with silence():
        reader, threads = Outlines(sample.pictures, cameras), usable_threads(cameras.threads)
        matching = _few_matches(cameras.matching)
        features = extract(reader, matching, threads, None, lambda share: None)
        outlines = reader.outlines()
        lenses = network_cameras(outlines, sample.prediction)
        pairs = select_pairs(features, matching)
        matches = match_pairs(features, pairs, lenses, matching, threads=threads, seed=cameras.seed)
    errors = epipolar_errors(features, matches, lenses, network_poses(sample.prediction))
    errors = errors[np.isfinite(errors)]
    error = float(np.median(errors)) if len(errors) else None
    connected, inside = connection(count, matches)
    own = [replace(picture, camera=frame) for frame, picture in enumerate(sample.pictures)]
    prediction = sample.prediction
    depth = check_depth(own, prediction.depth, prediction.valid, lenses, prediction.camera_to_world, dense)
    return Verdict(
        agrees=agreement(error, connected, lenses, cameras),
        epipolar_error=error,
        epipolar_error_before=error,
        frames_checked=count,
        frames_connected=connected if sample.complete else None,
        matches_connected=inside if sample.complete else None,
        confirmed=confirmed_share(depth.confirmed, torch.ones(count, dtype=torch.bool)),
    )


def _few_matches(settings: MatchingSettings) -> MatchingSettings:
    """Fewer features and pairs: enough to check cameras, at a fraction of the time of adjusting them."""
    features = min(_FEATURES, settings.max_features)
    return replace(
        settings, max_features=features, all_pairs_up_to=0, partners_in_time=_PARTNERS, partners_alike=_PARTNERS
    )


def agreement(error: float | None, connected: float, lenses: Sequence[Camera], settings: CameraSettings) -> bool:
    """Whether an epipolar error in pixels and a share of connected frames mean that pictures and cameras agree."""
    if error is None or connected < settings.verdict.min_frames:
        return False
    return error <= settings.verdict.max_error * max(pixel_unit(camera) for camera in lenses)


def connection(count: int, matches: Sequence[PairMatches]) -> tuple[float, float]:
    """Shares of the frames, and of the matches, in the largest part that verified pairs connect; (0, 0) without any."""
    if not matches:
        return 0.0, 0.0
    first, second, weight = (
        np.array(values) for values in zip(*((pair.first, pair.second, len(pair.rows)) for pair in matches))
    )
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    largest = np.bincount(part).argmax()
    inside: NDArray[np.bool_] = part[first] == largest
    return float((part == largest).mean()), float(weight[inside].sum() / weight.sum())


def check_depth(
    pictures: Sequence[Picture],
    depth: Tensor,
    valid: Tensor,
    cameras: Sequence[Camera],
    camera_to_world: Tensor,
    settings: DenseSettings,
    tracks: Tracks | None = None,
) -> RefinedDepth:
    """Count for every pixel of given depth maps the other views that confirm it.

    Args:
        pictures: N.
        depth: (N, H, W) along the optical axis, in the unit of the poses.
        valid: (N, H, W) bool; other pixels are filled from those around and not confirmed.
        cameras: physical cameras, by their number.
        camera_to_world: (N, 4, 4), NaN for frames without a pose.
        settings: of the consistency check.
        tracks: propose neighbours; None: frames near in time do.
    """
    usable = valid & (depth > 0) & torch.isfinite(depth)
    filled = fill_invalid(depth, usable).exp()
    size = int(depth.shape[-2]), int(depth.shape[-1])
    views = dense_views(pictures, cameras, camera_to_world, size, [1.0], depth.device)[1.0]
    limit = settings.neighbours.candidates
    candidates = candidate_views(len(pictures), views.posed.cpu(), tracks or Tracks.empty(), limit)
    asked = choose_neighbours(views, filled, candidates.to(depth.device), settings.consistency_neighbours())
    found = count_agreement(views, filled, asked, settings.consistency)
    found = replace(found, agree=found.agree * usable)
    # No search departed from these depths, so no picture has to vouch for them.
    vouched = torch.ones_like(filled)
    wide = required_parallax(found.parallax, settings.consistency)
    confirmed = confirmed_pixels(filled, filled, vouched, found, wide, settings.consistency)
    return RefinedDepth(filled, found.agree, found.seen, confirmed & usable)
