"""Local pointmaps: every frame in its own camera, from a window of keyframes around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.backbone import PatchGrid
from slam3r.reconstruction.batches import equal_batches
from slam3r.reconstruction.frames import LocalPointmap
from slam3r.reconstruction.keyframes import neighbours
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.scaling import normalize_confident
from slam3r.reconstruction.settings import ReconstructionSettings

Window = tuple[int, list[int]]
"""A frame and its neighbours."""


def plan_windows(
    frames: Iterable[int], stride: int, look_ahead: int, last: int, settings: ReconstructionSettings, first: int = 0
) -> Iterator[list[Window]]:
    """Windows of consecutive frames, in batches of equal length.

    Args:
        frames: frames whose windows to plan, in order.
        stride: keyframe stride.
        look_ahead: frames after a frame that its window may use.
        last: last frame received.
        settings: radius and batch size.
        first: first frame whose tokens are held; later than the window only after the stride has grown.
    """

    def window(frame: int) -> Window:
        others = neighbours(frame, stride, settings.window_radius, min(last, frame + look_ahead), first)
        return frame, others or [frame]  # without any (short look-ahead, first frames) it is its own neighbour

    return equal_batches(map(window, frames), lambda one: len(one[1]), settings.window_batch)


def decode_windows(
    windows: list[Window], store: FrameStore, grid: PatchGrid, networks: Networks, settings: ReconstructionSettings
) -> None:
    """Decode windows of equal length and put the local pointmaps into the store."""
    references = store.tokens(frame for frame, _ in windows)
    neighbours_of_all = [frame for _, window in windows for frame in window]
    sources = store.sources(neighbours_of_all, networks, grid).items(len(windows))
    pointmaps = networks.local_pointmaps(references, sources, grid)
    # A batch item of one view: every frame has a scale of its own.
    points, valid = normalize_confident(
        pointmaps.points[:, None], pointmaps.confidence[:, None], settings.local_threshold
    )
    for i, (frame, _) in enumerate(windows):
        # Own memory: a view would keep the whole batch alive for one buffered frame.
        raw, confidence = pointmaps.points[i].clone(), pointmaps.confidence[i].clone()
        mean = float(confidence.double().mean())
        store.local[frame] = LocalPointmap(raw, confidence, points[i, 0].clone(), valid[i, 0].clone(), mean)
