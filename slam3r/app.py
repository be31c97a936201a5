"""Adapter of SLAM3R to the web application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.app.contract import Before, Cloud, Option, Outcome, Picture, PosedFrame, Watcher
from common.app.levels import Levels, levels_by_share, levels_by_views
from common.data.sources.frame_source import FrameSource
from common.model_library import LoadedModel
from common.progress import listening
from slam3r.api import reconstruct
from slam3r.pretrained import find_model
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.frame_strip import draw_strip
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame
from slam3r.scene.settings import ExportSettings

_BEFORE_POINTS = 500_000
"""Points of a refined scene as it was before, at most."""
_LIVE_POINTS = 1500
"""Points of a frame that are shown while the run goes on."""

_RECONSTRUCTION = {"read": 2.0, "read, trying": 11.0, "register": 65.0}
_CHECK = {"check": 10.0}
_CAMERAS = {
    "refine: features": 2.0,
    "refine: matching": 7.0,
    "refine: rotations": 4.0,
    "refine: adjustment": 5.0,
    "refine: verdict": 1.0,
}
_DENSE = {"refine: depth grid": 4.0, "refine: sweep 1": 11.0, "refine: sweep 2": 14.0, "refine: consistency": 12.0}
_STAGES = {
    "off": _RECONSTRUCTION | _CHECK,
    "cameras": _RECONSTRUCTION | _CAMERAS,
    "dense": _RECONSTRUCTION | _CAMERAS | _DENSE,
}
"""Seconds of the stages for the sample room on two cores, by mode of refinement; only their relation counts."""
AS_THE_MODEL_ASKS = "as the model asks"

OPTIONS = (
    Option("keyframe_stride", "Keyframe stride (0: automatic)", "Frames between keyframes.", 0, "whole", 0, 30, 1,
           basic=True),
    Option("window_radius", "Window radius", "Keyframes on either side that a frame's own pointmap is made with.", 5,
           "whole", 1, 10, 1, basic=True),
    Option("refinement", "Refinement", "Whether the views are made consistent afterwards: their cameras alone, or by a "
           "dense search as well; auto: as far as it is possible.", AS_THE_MODEL_ASKS, "choice",
           choices=(AS_THE_MODEL_ASKS, "auto", "off", "cameras", "dense"), basic=True),
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
        refinement = settings.pop("refinement", AS_THE_MODEL_ASKS)
        mode = description.refinement if refinement == AS_THE_MODEL_ASKS else refinement
        watcher.plan(_STAGES["dense" if mode == "auto" else mode])
        watcher.report("load the model")
        with listening(watcher.report):
            scene = reconstruct(
                source,
                found,
                settings=settings,
                # All of them: the page has controls that choose.
                export={
                    "share": 1.0,
                    "unconfirmed": True,
                    "max_points": self.max_points,
                    "unrefined_points": _BEFORE_POINTS,
                },
                refinement=None if refinement == AS_THE_MODEL_ASKS else refinement,
                sinks=[_LiveView(watcher)],
                device=self.device,
                size=self.size,
                progress=False,
            )
        return _outcome(scene, description.confidence.registered)


class _LiveView:
    """Sink that passes some points of registered frames to the watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self._random = watcher, np.random.default_rng(0)

    def add(self, frame: RegisteredFrame) -> None:
        """Show some points of a frame."""
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


def _outcome(scene: Scene, threshold: float) -> Outcome:
    order = np.random.default_rng(0).permutation(len(scene.points))
    cloud = Cloud(scene.points[order], scene.colors[order], scene.confidence[order])
    refined = scene.verdict.applied != "none"
    seen = "views that agree" if refined else "confidence"
    return Outcome(
        cloud,
        [_posed(frame) for frame in scene.posed],
        levels_by_views(cloud.confidence) if refined else _shares(cloud.confidence, threshold),
        verdict=scene.verdict.sentence(),
        agrees=scene.verdict.agrees,
        before=_before(scene, threshold),
        strip=[Picture(f"{frame.name}: picture, depth, {seen}", draw_strip([frame])) for frame in scene.strip],
        figures=_figures(scene),
        warnings=_warnings(scene),
    )


def _shares(confidence: NDArray[np.float32], threshold: float) -> Levels:
    """The share that a run without refinement keeps by itself: the points above its threshold, but not too few."""
    above = float((confidence > threshold).mean()) if len(confidence) else 0.0
    return levels_by_share(confidence, max(above, ExportSettings().share))


def _before(scene: Scene, threshold: float) -> Before | None:
    """The scene before refinement, with the points that an unrefined run keeps."""
    unrefined = scene.unrefined
    if unrefined is None:
        return None
    levels = _shares(unrefined.confidence, threshold)
    keep = levels.chosen(unrefined.confidence, levels.default)
    known = np.isfinite(unrefined.camera_to_world).all(axis=(1, 2))
    cloud = Cloud(unrefined.points[keep], unrefined.colors[keep], unrefined.confidence[keep])
    return Before(cloud, unrefined.camera_to_world[known])


def _posed(frame: SceneFrame) -> PosedFrame:
    pose = np.asarray(frame.camera_to_world)
    return PosedFrame(frame.name, frame.timestamp, pose, frame.intrinsics, frame.original_size, frame.file)


def _figures(scene: Scene) -> dict[str, str]:
    verdict, means = scene.verdict, [frame.mean_confidence for frame in scene.mapped]
    figures = {
        "Frames": f"{len(scene.frames)}, of which {len(scene.posed)} with a pose",
        "Keyframe stride": f"{scene.stride}",
        "Points": f"{len(scene.points):,}",
        "Mean confidence": f"{np.mean(means):.1f} (lowest frame {min(means):.1f})",
        "Refinement": "not applied" if verdict.applied == "none" else verdict.applied,
    }
    if verdict.epipolar_error is not None:
        before = verdict.epipolar_error_before
        figures["Matches to epipolar lines"] = f"{verdict.epipolar_error:.2f} px (median)" + (
            "" if before is None or verdict.applied == "none" else f", before refinement {before:.2f} px"
        )
    if verdict.confirmed is not None:
        figures["Points confirmed by other views"] = f"{verdict.confirmed:.0%}"
    return figures | {
        "Time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in _times(scene).items()),
        "Peak memory": f"{scene.peak_memory}",
        "Model": f"{scene.model.get('name', '')} on {scene.model.get('device', '')}",
    }


def _times(scene: Scene) -> dict[str, float]:
    times = {"reconstruction": scene.total_seconds}
    return times | {stage: scene.seconds[stage] for stage in ("refine", "verdict") if stage in scene.seconds}


def _warnings(scene: Scene) -> list[str]:
    found = [f"{name} was skipped: {reason}" for name, reason in scene.skipped] + scene.notes
    weak = sum(frame.status == "low_confidence" for frame in scene.frames)
    if weak:
        found.append(f"Frames of low confidence: {weak} of {len(scene.frames)}.")
    if len(scene.posed) < len(scene.frames):
        found.append(f"Frames without a pose: {len(scene.frames) - len(scene.posed)} of {len(scene.frames)}.")
    return found
