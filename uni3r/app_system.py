"""Uni3R as an application sees it; keeps to `common.presentation.System`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.data.preprocess import denormalize
from common.data.sources import FrameSource
from common.export.colors import color_confidence, color_depth
from common.export.video import video_writer
from common.presentation import Cloud, Option, Outcome, Picture, PosedFrame, Splats, WatchedSource, Watcher
from common.views import Cameras
from uni3r.api import reconstruct
from uni3r.gaussian_files import save_ply
from uni3r.outputs import GAUSSIANS, Painter
from uni3r.scene import Scene
from uni3r.semantics.labels import load_label_set
from uni3r.trajectory_video import FlightSettings, flight

_FIRST_HARMONIC = 0.5 / np.sqrt(np.pi)
"""The constant spherical harmonic."""

OPTIONS = (
    Option("views", "Views", "Pictures to build from, spread evenly over the input.", 4, "whole", 1, 16, 1, basic=True),
    Option("refine", "Refine poses", "Fit the model's own poses to the pictures.", True, "switch"),
)


@dataclass
class Uni3RSystem:
    """Confidence of a Gaussian is its opacity, in percent."""

    models: Sequence[str] = ("uni3r_tiny", "uni3r_large", "uni3r_multiview")
    device: str = "auto"
    teacher_source: str | None = None
    """Weights of the teacher, for models whose words come from one that does not ship."""
    film_frames: int = 48
    name: str = "Uni3R"
    options: Sequence[Option] = OPTIONS

    def run(self, source: FrameSource, model: str, values: Mapping[str, Any], watcher: Watcher) -> Outcome:
        """Build a scene."""
        watcher.report("loading the model")
        scene = reconstruct(
            WatchedSource(source, watcher),
            model,
            teacher_source=self.teacher_source,
            device=self.device,
            progress=False,
            **values,
        )
        watcher.report("drawing")
        return self._outcome(scene)

    def _outcome(self, scene: Scene) -> Outcome:
        gaussians = scene.gaussians
        order = torch.randperm(gaussians.count, generator=torch.Generator().manual_seed(0)).to(gaussians.means.device)
        chosen = gaussians.take(order)
        colors = (chosen.harmonics[0, :, 0] * _FIRST_HARMONIC + 0.5).clamp(0, 1)
        rotations = torch.nn.functional.normalize(chosen.rotations[0], dim=-1)
        opacities = chosen.opacities[0].float().cpu().numpy()
        understands = scene.text is not None and gaussians.features is not None
        labels = load_label_set(scene.labels) if understands else None
        return Outcome(
            Cloud(chosen.means[0].float().cpu().numpy(), (colors * 255).byte().cpu().numpy(), 100 * opacities),
            _frames(scene),
            threshold=5.0,
            splats=Splats(chosen.scales[0].float().cpu().numpy(), rotations.float().cpu().numpy(), opacities),
            strip=_strip(scene),
            figures=_figures(scene),
            warnings=list(scene.warnings),
            write_more=lambda folder: _write(scene, folder),
            film=(lambda folder, watcher: _film(scene, folder, self.film_frames, watcher)) if scene.posed else None,
            search=(lambda words: _search(scene, words)) if understands and scene.posed else None,
            legend=[]
            if labels is None
            else [(name, tuple(color)) for name, color in zip(labels.names, labels.colors.tolist(), strict=True)],
        )


def _frames(scene: Scene) -> list[PosedFrame]:
    poses = scene.cameras.camera_to_world.cpu().double().numpy()
    return [
        PosedFrame(
            scene.views[index].name,
            float(scene.views[index].number),
            poses[index],
            scene.original_intrinsics(index),
            scene.views[index].original_size,
            scene.views[index].file,
        )
        for index in scene.posed
    ]


def _strip(scene: Scene) -> list[Picture]:
    """Per view: the picture, the rendering with its depth, the confidence of its points, the segmentation."""
    painter = Painter(scene)
    renderings = [scene.render(_camera(scene, index))[0] for index in scene.posed]
    if not renderings:
        return []
    painter.fit(renderings)
    confidence = scene.pointmaps.confidence.float().cpu().numpy()
    highest = float(np.quantile(confidence, 0.98))
    pictures = []
    for index, rendering in zip(scene.posed, renderings, strict=True):
        painted = painter.paint(rendering)
        rows = [denormalize(scene.images[index].cpu()).numpy(), painted["color"]]
        rows.append(painted.get("depth", color_depth(rendering.depth.cpu().numpy())))
        rows.append(color_confidence(confidence[index], highest))
        rows += [painted[name] for name in ("segmentation",) if name in painted]
        caption = f"{scene.views[index].name}: picture, rendering, depth, confidence"
        caption += ", segmentation" if "segmentation" in painted else ""
        pictures.append(Picture(caption, np.concatenate(rows)))
    return pictures


def _figures(scene: Scene) -> dict[str, str]:
    return {
        "Views": f"{len(scene.views)}, of which {len(scene.posed)} with a pose",
        "Gaussians": f"{scene.gaussians.count:,}",
        "Intrinsics": scene.intrinsics_from,
        "Time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in scene.seconds.items()),
        "Model": f"{scene.model.get('name', '')} on {scene.model.get('device', '')}",
    }


def _write(scene: Scene, folder: Path) -> list[Path]:
    save_ply(folder / GAUSSIANS, scene.gaussians)
    return [folder / GAUSSIANS]


def _film(scene: Scene, folder: Path, frames: int, watcher: Watcher) -> Path:
    path, size = folder / "film.mp4", scene.size
    inputs = Cameras(scene.cameras.camera_to_world[scene.posed], scene.cameras.intrinsics[scene.posed])
    cameras = flight(inputs, scene.median_depth, FlightSettings(frames=frames))
    painter = Painter(scene)
    with video_writer(path, size, fps=24.0) as write:
        for frame in range(frames):
            watcher.report("filming", frame, frames)
            write(painter.paint(scene.render(cameras[frame : frame + 1])[0])["color"])
    return path


def _search(scene: Scene, words: Sequence[str]) -> list[Picture]:
    painter = Painter(scene, tuple(words))
    return [
        Picture(f"{word} in {scene.views[index].name}", picture)
        for index in scene.posed
        for word, picture in zip(words, painter.heat_maps(scene.render(_camera(scene, index))[0]), strict=True)
    ]


def _camera(scene: Scene, index: int) -> Cameras:
    return scene.cameras[index : index + 1]
