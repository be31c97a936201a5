"""Dense refinement: predicted depth and refined cameras to depth that several views confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from common.refinement.dense.chunks import frame_chunks, in_parallel, map_frames
from common.refinement.dense.consistency import confirmed_pixels, count_agreement, required_parallax
from common.refinement.dense.depth_grid import correct_depth, smooth_depth
from common.refinement.dense.given_depth import spread_given, vouched
from common.refinement.dense.joining import join_depth, trust
from common.refinement.dense.neighbours import candidate_views, choose_neighbours
from common.refinement.dense.settings import DenseSettings
from common.refinement.dense.sweep import Held, sweep_level
from common.refinement.dense.views import DenseViews, dense_views
from common.refinement.stopwatch import Stopwatch
from common.refinement.types import Picture, Prediction, RefinedCameras, RefinedDepth

_DECIDING = 3
"""Every how many frames are asked where the search begins."""

Progress = Callable[[str, float], None]
"""Is told the stage and the share of it that is done."""


def refine_depth(
    pictures: Sequence[Picture],
    prediction: Prediction,
    refined_cameras: RefinedCameras,
    settings: DenseSettings | None = None,
    progress: Progress | None = None,
    device: torch.device | str | None = None,
    given: Tensor | None = None,
) -> RefinedDepth:
    """Make the depth maps of N frames agree with the tracks, with the pictures and with each other.

    Args:
        pictures: N.
        prediction: depth of the network; only depth and validity are used.
        refined_cameras: poses, lenses and tracks. Frames without a pose, or without neighbours that see the same from
            elsewhere, keep their predicted depth, scaled, and none of their pixels is confirmed.
        settings: of all stages.
        progress: is told how far the work is.
        device: where to compute; None: where `prediction.depth` is.
        given: (N, H, W) measured depths in the world's unit, 0 where unknown; None without any.

    Returns:
        Depth maps on the device of `prediction.depth`, finite and positive everywhere.

    Raises:
        ValueError: the numbers of frames differ.
    """
    return _refine(pictures, prediction, refined_cameras, settings, progress, device, None, given)


@dataclass
class DenseTrace:
    """The result with the depth after each stage, for measurements."""

    result: RefinedDepth
    stages: dict[str, Tensor] = field(default_factory=dict)
    """(N, H, W) each."""


def trace_depth(
    pictures: Sequence[Picture],
    prediction: Prediction,
    refined_cameras: RefinedCameras,
    settings: DenseSettings | None = None,
    progress: Progress | None = None,
    device: torch.device | str | None = None,
) -> DenseTrace:
    """`refine_depth` with what lies between its stages, which takes memory."""
    stages: dict[str, Tensor] = {}
    result = _refine(pictures, prediction, refined_cameras, settings, progress, device, stages)
    return DenseTrace(result, stages)


def _refine(
    pictures: Sequence[Picture],
    prediction: Prediction,
    refined: RefinedCameras,
    settings: DenseSettings | None,
    progress: Progress | None,
    device: torch.device | str | None,
    stages: dict[str, Tensor] | None,
    given: Tensor | None = None,
) -> RefinedDepth:
    """The whole; the depth after each stage goes into `stages`, if given."""
    _check(pictures, prediction, refined)
    settings = settings or DenseSettings()
    home = prediction.depth.device
    target = torch.device(device) if device is not None else home
    clock = _Clock(progress, len(prediction))
    kept = stages if stages is not None else _Forgetful()
    with torch.no_grad():
        with clock.stage("pictures"):
            views_at, maps = _prepare(pictures, prediction, refined, settings, target)
        with clock.stage("depth grid"):
            depth, valid = prediction.depth.to(target), prediction.valid.to(target)
            kept["grid"] = depth = correct_depth(depth, valid, refined, maps, settings.grid)
            candidates = _candidates(refined, settings).to(target)
            kept["prior"] = prior = depth = _search_around(views_at[1.0], depth, candidates, settings)
            held = None
            if given is not None:
                given = given.to(depth)
                kept["given"] = prior = depth = spread_given(depth, given)
                held = Held((given > 0).to(depth), settings.given)
        correlation = torch.zeros_like(depth)
        for number, level in enumerate(settings.sweep.levels, start=1):
            name = f"sweep {number}"
            with clock.stage(name) as advance:
                swept = sweep_level(
                    views_at[level.scale], depth, candidates, level, settings.sweep, settings.neighbours, advance, held
                )
            kept[name] = depth = swept.depth
            correlation = swept.correlation
        with clock.stage("consistency"):
            views = views_at[1.0]
            if given is not None:
                correlation = vouched(correlation, depth, given, settings.consistency.tolerance)
            asked = choose_neighbours(views, depth, candidates, settings.consistency_neighbours())
            found = count_agreement(views, depth, asked, settings.consistency)
            wide = required_parallax(found.parallax, settings.consistency)
            confirms = partial(confirmed_pixels, parallax=wide, settings=settings.consistency)
            confirmed = map_frames(confirms, depth, prior, correlation, found)
        with clock.stage("joining"):
            kept["joined"] = depth = _join(views, prior, depth, correlation, found.agree, confirmed, settings)
            # The views that agree with the depth that is handed out, where it was filled in as well.
            found = count_agreement(views, depth, asked, settings.consistency, angles=False)
            confirmed &= found.agree >= settings.consistency.min_views
    depth, agree, seen, confirmed = (tensor.to(home) for tensor in (depth, found.agree, found.seen, confirmed))
    return RefinedDepth(depth, agree, seen, confirmed, clock.watch.seconds, clock.watch.cpu_seconds)


class _Forgetful(dict[str, Tensor]):
    """Takes what it is given and keeps nothing."""

    def __setitem__(self, key: str, value: Tensor) -> None:
        pass


def _search_around(views: DenseViews, depth: Tensor, candidates: Tensor, settings: DenseSettings) -> Tensor:
    """Depth to begin the search at: blurred, or as it is where more views agree on that.

    The blur hides the steps that small networks leave at patch borders. It costs a network that draws edges sharply
    these edges, and the search does not find them again where the picture is flat.
    """
    smoothed = smooth_depth(depth, settings.grid)
    asked = choose_neighbours(views, smoothed, candidates, settings.consistency_neighbours())
    # Some of the frames are enough to decide.
    asked = [others if frame % _DECIDING == 0 else others[:0] for frame, others in enumerate(asked)]

    def agreement(of: Tensor) -> int:
        agree = count_agreement(views, of, asked, settings.consistency, angles=False).agree
        return int((agree >= settings.consistency.min_views).sum())

    return smoothed if agreement(smoothed) >= agreement(depth) else depth


def _join(
    views: DenseViews,
    prior: Tensor,
    swept: Tensor,
    correlation: Tensor,
    agree: Tensor,
    confirmed: Tensor,
    settings: DenseSettings,
) -> Tensor:
    def join(part: slice) -> Tensor:
        weight = trust(agree[part], correlation[part], settings.consistency.min_views)
        grey = torch.stack([views.grey(frame) for frame in range(part.start, part.stop)])
        return join_depth(prior[part], swept[part], weight, confirmed[part], grey, settings.joining)

    return torch.cat(list(in_parallel(join, frame_chunks(len(views)), views.device)))


def _check(pictures: Sequence[Picture], prediction: Prediction, refined: RefinedCameras) -> None:
    counts = len(pictures), len(prediction), len(refined.camera_to_world)
    if not counts[0] or len(set(counts)) > 1:
        raise ValueError(f"expected as many pictures as depths and poses, and at least one; got {counts}")


def _prepare(
    pictures: Sequence[Picture],
    prediction: Prediction,
    refined: RefinedCameras,
    settings: DenseSettings,
    device: torch.device,
) -> tuple[dict[float, DenseViews], Tensor]:
    """The frames for the grids of all levels, and (N, 3, 3) maps to network pixels; every picture is read once."""
    maps: list[Tensor] = []

    def watched() -> Iterator[Picture]:
        for picture in pictures:
            maps.append(picture.network_from_working.double().cpu())
            yield picture

    scales = sorted({1.0, *(level.scale for level in settings.sweep.levels)})
    size = int(prediction.depth.shape[-2]), int(prediction.depth.shape[-1])
    views = dense_views(watched(), refined.cameras, refined.camera_to_world, size, scales, device)
    return views, torch.stack(maps)


def _candidates(refined: RefinedCameras, settings: DenseSettings) -> Tensor:
    posed = torch.isfinite(refined.camera_to_world).flatten(1).all(dim=1)
    return candidate_views(len(posed), posed, refined.tracks, settings.neighbours.candidates)


class _Clock:
    """Times the stages and tells whoever watches."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.watch = Stopwatch()
        self._progress, self._total = progress, total

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int], None]]:
        """Time a block; it may call the function it gets with a number of frames that are done."""
        done = 0

        def advance(frames: int) -> None:
            nonlocal done
            done = min(done + frames, self._total)
            self._tell(name, done)

        self._tell(name, 0)
        with self.watch(name):
            yield advance
        if done < self._total:
            self._tell(name, self._total)

    def _tell(self, name: str, done: int) -> None:
        if self._progress is not None:
            self._progress(name, done / self._total)
