"""Adapter of Uni3R to the web application, see `common.app.contract.System`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.app.contract import Cloud, Option, Outcome, Picture, PosedFrame, Splats, Watcher
from common.app.levels import levels_by_share
from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.preprocess import denormalize
from common.drawing.colors import color_confidence
from common.drawing.panel import draw_columns
from common.drawing.video import video_writer
from common.export.result_folder import GAUSSIANS
from common.progress import listening
from common.views import Cameras
from uni3r.api import reconstruct
from uni3r.gaussians.files import save_ply
from uni3r.scene.flight import flight
from uni3r.scene.painter import Painter
from uni3r.scene.scene import Scene
from uni3r.scene.settings import FlightSettings
from uni3r.semantics.labels import load_label_set
from uni3r.semantics.word_search import unknown_words_note

_FIRST_HARMONIC = 0.5 / np.sqrt(np.pi)
"""The constant spherical harmonic."""
_SOLID = 0.05
"""Opacity of the Gaussians that are shown at the beginning, at least."""

OPTIONS = (
    Option("views", "Views", "Pictures to build from.", 8, "whole", 1, 16, 1, basic=True),
    Option("step", "Frames between views (0: spread)", "Views stand side by side in the middle of the input, so many "
           "frames apart, or are spread over all of it.", 2, "whole", 0, 30, 1, basic=True),
    Option("refine", "Refine poses", "Fit the model's own poses to the pictures.", True, "switch"),
)  # fmt: skip


@dataclass
class Uni3RSystem:
    """Uni3R as a `System`; the confidence of a Gaussian is its opacity, in percent."""

    models: Sequence[str] = ("uni3r_tiny", "uni3r_large", "uni3r_multiview")
    device: str = "auto"
    teacher_source: str | None = None
    """Weights of the teacher, for models whose words come from one that does not ship."""
    film_frames: int = 48
    name: str = "Uni3R"
    options: Sequence[Option] = OPTIONS

    def run(self, source: FrameSource, model: str, values: Mapping[str, Any], watcher: Watcher) -> Outcome:
        """Build a scene."""
        watcher.report("load the model")
        values = dict(values)
        neighbours = Neighbours(source, values["views"], values.pop("step"))
        with listening(watcher.report):
            scene = reconstruct(
                neighbours,
                model,
                teacher_source=self.teacher_source,
                device=self.device,
                progress=False,
                **values,
            )
        watcher.report("draw")
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
            levels_by_share(100 * opacities, float((opacities > _SOLID).mean()), "Gaussians"),
            verdict=scene.verdict.sentence(),
            agrees=scene.verdict.agrees,
            splats=Splats(chosen.scales[0].float().cpu().numpy(), rotations.float().cpu().numpy(), opacities),
            strip=_strip(scene),
            figures=_figures(scene),
            warnings=[warning for warning in scene.warnings if warning != scene.verdict.sentence()],
            write_more=lambda folder: _write(scene, folder),
            film=(lambda folder, watcher: _film(scene, folder, self.film_frames, watcher)) if scene.posed else None,
            search=(lambda words: _search(scene, words)) if understands and scene.posed else None,
            legend=[]
            if labels is None
            else [(name, tuple(color)) for name, color in zip(labels.names, labels.colors.tolist(), strict=True)],
        )


class Neighbours(FrameSource):
    """Evenly spaced frames around the middle of another source; all frames if it has few, or an unknown length."""

    def __init__(self, source: FrameSource, count: int, step: int) -> None:
        """
        Args:
            source: source to choose from.
            count: frames to choose.
            step: frames from one to the next, less if the source is too short. 0 chooses all.
        """
        super().__init__()
        self._source, self.skipped, self.notes = source, source.skipped, source.notes
        length = source.length or 0
        self._step = min(step, (length - 1) // max(1, count - 1)) or 1
        self._all = step == 0 or length <= count
        span = (count - 1) * self._step + 1
        self._start = 0 if self._all else (length - span) // 2
        self._count = count

    @property
    def length(self) -> int | None:
        return self._source.length if self._all else self._count

    @property
    def files_are_plain(self) -> bool:
        return self._source.files_are_plain

    def validate(self) -> None:
        self._source.validate()

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        for number, frame in enumerate(self._source):
            if self._all:
                yield frame
            elif number >= self._start and (number - self._start) % self._step == 0:
                yield frame
                given += 1
                if given == self._count:
                    return


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
        tiles = {"picture": denormalize(scene.images[index].cpu()).numpy(), "rendering": painted["color"]}
        tiles |= {"depth": painted["depth"], "confidence": color_confidence(confidence[index], highest)}
        if "segmentation" in painted:
            tiles["segmentation"] = painted["segmentation"]
        name = scene.views[index].name
        caption = f"{name}: {', '.join(tiles)}"
        pictures.append(Picture(caption, draw_columns([(name, list(tiles.values()))])))
    return pictures


def _figures(scene: Scene) -> dict[str, str]:
    return {
        "Views": f"{len(scene.views)}, of which {len(scene.posed)} with a pose",
        "Gaussians": f"{scene.gaussians.count:,}",
        "Cameras": f"poses {scene.poses_from}, intrinsics {scene.intrinsics_from}",
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
    renderings = [scene.render(_camera(scene, index))[0] for index in scene.posed]
    painter = Painter(scene, words)
    maps = painter.heat_maps(renderings)
    assert painter.labels is not None
    notes = {word: f" ({unknown_words_note([word], painter.labels)})" for word in painter.unknown_words}
    return [
        Picture(f"{word} in {scene.views[index].name}{notes.get(word, '')}", view[number])
        for number, word in enumerate(words)
        for index, view in zip(scene.posed, maps, strict=True)
    ]


def _camera(scene: Scene, index: int) -> Cameras:
    return scene.cameras[index : index + 1]
