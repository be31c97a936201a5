"""Adapter of SLAM3R to the web application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.app.contract import Cloud, Option, Outcome, Picture, PosedFrame, WatchedSource, Watcher
from common.data.sources.image_files import FrameSource
from common.model_library import LoadedModel
from slam3r.api import reconstruct
from slam3r.pretrained import find_model
from slam3r.reconstruction.events import Event, Initialized, StrideTried
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.frame_strip import draw_strip
from slam3r.scene.scene import Scene

_FLOOR = 1.0
"""Confidence threshold of the points in the view, which keeps all points."""
_LIVE_POINTS = 1500
"""Points of a frame that are shown while the run goes on."""

OPTIONS = (
    Option("keyframe_stride", "Keyframe stride (0: automatic)", "Frames between keyframes.", 0, "whole", 0, 30, 1,
           basic=True),
    Option("window_radius", "Window radius", "Keyframes on either side that a frame's own pointmap is made with.", 5,
           "whole", 1, 10, 1, basic=True),
    Option("initial_window", "Initial window", "Keyframes that the world begins with.", 5, "whole", 2, 11, 1),
    Option("num_scene_frames", "Reference frames", "Earlier frames that a new one is registered against.", 10,
           "whole", 1, 30, 1),
    Option("buffer_size", "Buffering set (0: all)", "Frames that are kept to be references later.", 100, "whole", 0,
           400, 10),
    Option("pose_method", "Poses from", "Pairs of pointmaps (closed form), or pixels and points (PnP).", "pointmaps",
           "choice", choices=("pointmaps", "pnp")),
)  # fmt: skip


@dataclass
class Slam3rSystem:
    """See `common.app.contract.System`."""

    models: Sequence[str] = ("slam3r_tiny", "slam3r_large")
    device: str = "auto"
    size: tuple[int, int] = (224, 224)
    max_points: int = 2_000_000
    """Points that are kept of a run, of any confidence."""
    name: str = "SLAM3R"
    options: Sequence[Option] = OPTIONS

    def run(self, source: FrameSource, model: str, values: Mapping[str, Any], watcher: Watcher) -> Outcome:
        """Reconstruct; frames are shown as they are registered."""
        found = find_model(model)
        description = found.description if isinstance(found, LoadedModel) else found
        settings = dict(values)
        settings["keyframe_stride"] = settings.get("keyframe_stride") or -1
        live = _LiveView(watcher, source.length or 0)
        scene = reconstruct(
            WatchedSource(source, watcher),
            found,
            settings=settings,
            export={"confidence": _FLOOR, "max_points": self.max_points},
            sinks=[live],
            observer=live.observe,
            device=self.device,
            size=self.size,
            progress=False,
        )
        return _outcome(scene, description.confidence.registered)


class _LiveView:
    """Sink and observer that passes registered frames to the watcher."""

    def __init__(self, watcher: Watcher, total: int) -> None:
        self._watcher, self._total, self._count = watcher, total, 0
        self._random = np.random.default_rng(0)

    def add(self, frame: RegisteredFrame) -> None:
        """Show some points of a frame."""
        self._count += 1
        self._watcher.report("registering", self._count, self._total)
        points = frame.world_points.float().numpy().reshape(-1, 3)
        chosen = self._random.choice(len(points), min(_LIVE_POINTS, len(points)), replace=False)
        colors, confidence = frame.colors.numpy().reshape(-1, 3), frame.world_confidence.float().numpy().reshape(-1)
        chosen = chosen[frame.valid.numpy().reshape(-1)[chosen]]
        pose = frame.camera_to_world
        self._watcher.grow(
            Cloud(points[chosen], colors[chosen], confidence[chosen]),
            None if pose is None else pose.double().numpy().copy(),
        )

    def close(self) -> None:
        """Nothing to do."""

    def observe(self, event: Event) -> None:
        """Report the stage of the reconstruction."""
        if isinstance(event, StrideTried):
            self._watcher.report(f"trying keyframe stride {event.stride}")
        elif isinstance(event, Initialized):
            self._watcher.report("registering", 0, self._total)


def _outcome(scene: Scene, threshold: float) -> Outcome:
    order = np.random.default_rng(0).permutation(len(scene.points))
    frames = [
        PosedFrame(
            frame.name,
            frame.timestamp,
            np.asarray(frame.camera_to_world),
            frame.intrinsics,
            frame.original_size,
            frame.file,
        )
        for frame in scene.posed
    ]
    return Outcome(
        Cloud(scene.points[order], scene.colors[order], scene.confidence[order]),
        frames,
        threshold,
        strip=[Picture(f"{frame.name}: picture, depth, confidence", draw_strip([frame])) for frame in scene.strip],
        figures=_figures(scene),
        warnings=_warnings(scene, threshold),
    )


def _figures(scene: Scene) -> dict[str, str]:
    means = [frame.mean_confidence for frame in scene.frames]
    return {
        "Frames": f"{len(scene.frames)}, of which {len(scene.posed)} with a pose",
        "Keyframe stride": f"{scene.stride}",
        "Points": f"{len(scene.points):,}",
        "Mean confidence": f"{np.mean(means):.1f} (lowest frame {min(means):.1f})",
        "Time": f"{scene.total_seconds:.1f} s, {scene.frames_per_second:.1f} frames per second",
        "Peak memory": f"{scene.peak_memory}",
        "Model": f"{scene.model.get('name', '')} on {scene.model.get('device', '')}",
    }


def _warnings(scene: Scene, threshold: float) -> list[str]:
    found = [f"{name} was skipped: {reason}" for name, reason in scene.skipped] + scene.notes
    if not (scene.confidence > threshold).any():
        found.append(f"No point has a confidence above {threshold:g}; lower the confidence to see the uncertain ones.")
    weak = sum(frame.status == "low_confidence" for frame in scene.frames)
    if weak:
        found.append(f"Frames of low confidence: {weak} of {len(scene.frames)}.")
    return found
