"""Command ``reconstruct``: a point cloud with camera poses from images or a video, or live maps from a camera."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import slam3r
from common.command.line.outcome import EXIT_INTERRUPTED
from common.command.line.output_folder import chosen_output
from common.command.many.board import Figures
from common.command.registry import plain
from common.data.sources.frame_source import FrameSource
from common.data.sources.open import source_from_config
from common.device import choose_device
from common.errors import ConfigurationError
from common.known.settings import KnownSettings
from common.refinement.settings import RefinementSettings
from slam3r.command.settings import ReconstructCommand
from slam3r.live.run import reconstruct_live
from slam3r.live.settings import MapSettings, StreamingSettings, ViewSettings
from slam3r.pretrained import ModelChoice, load_model
from slam3r.scene.settings import ExportSettings

logger = logging.getLogger(__name__)


def reconstruct(chosen: ReconstructCommand) -> None:
    """Build the source, reconstruct, write, and print a summary."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    ignored = ignored_settings(chosen)
    if ignored:
        logger.warning("live=%s ignores %s", str(chosen.live).lower(), ", ".join(ignored))
    with source_from_config(chosen.source) as source:
        output = chosen_output(chosen.output, chosen.source, "live" if chosen.live else "reconstruction")
        if chosen.live:
            for name in ("cameras", "depths", "masks"):
                if getattr(chosen, name) is not None:
                    raise ConfigurationError(f"{name}: not for live sessions; leave it out, or give live=false")
            if chosen.scale.is_given:
                raise ConfigurationError("scale: not for live sessions; leave it out, or give live=false")
            return _run_live(source, chosen, output)
        scene = _run_offline(source, chosen, chosen.model, output)
    print(
        f"{scene.sentence()}, {len(scene.points)} points, "
        f"{scene.frames_per_second:.2f} frames per second, peak {scene.peak_memory}: {output}"
    )
    print(scene.verdict.sentence())
    print(scene.unit.sentence())
    if scene.interrupted:
        sys.exit(EXIT_INTERRUPTED)


def prepare_many(chosen: ReconstructCommand) -> Callable[[ReconstructCommand], Figures]:
    """Load the model once; returns the reconstruction of one of several inputs (`common.command.verb.Verb.many`)."""
    if chosen.live:
        raise ConfigurationError("live: a live session has one input")
    choose_device(chosen.run.device)
    loaded = load_model(chosen.model)

    def one(chosen: ReconstructCommand) -> Figures:
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        assert chosen.output is not None, "a batch gives each input its folder"
        with source_from_config(chosen.source) as source:
            scene = _run_offline(source, chosen, loaded, Path(chosen.output))
        return Figures(len(scene.frames), scene.verdict.sentence())

    return one


def _run_offline(source: FrameSource, chosen: ReconstructCommand, model: ModelChoice, output: Path) -> slam3r.Scene:
    return slam3r.reconstruct(
        source,
        model,
        output,
        settings=chosen.reconstruction,
        export=chosen.export,
        refinement=chosen.refinement,
        cameras=chosen.cameras,
        camera=chosen.camera,
        depths=chosen.depths,
        masks=chosen.masks,
        scale=chosen.scale,
        known=chosen.known,
        save_predictions=chosen.save_predictions,
        overwrite=chosen.overwrite,
        **vars(chosen.run),
    )


def ignored_settings(chosen: ReconstructCommand) -> list[str]:
    """Names of settings that were changed and have no effect in this kind of run."""
    if chosen.live:
        others: dict[str, tuple[Any, Any]] = {
            "save_predictions": (chosen.save_predictions, False),
            "export": (chosen.export, ExportSettings()),
            "known": (chosen.known, KnownSettings()),
        }
        if not chosen.streaming.refine:
            others["refinement"] = (chosen.refinement, RefinementSettings())
    else:
        usual = StreamingSettings(map=MapSettings(confidence=chosen.model.confidence.registered))
        others = {"streaming": (chosen.streaming, usual), "view": (chosen.view, ViewSettings())}
    return [name for key, pair in others.items() for name in _changed(key, *map(plain, pair))]


def _changed(key: str, value: Any, default: Any) -> Iterator[str]:
    """Dotted names at which two nested mappings differ."""
    if isinstance(value, dict) and isinstance(default, dict):
        for name, inner in value.items():
            yield from _changed(f"{key}.{name}", inner, default.get(name))
    elif value != default:
        yield key


def _run_live(source: FrameSource, chosen: ReconstructCommand, output: Path) -> None:
    statistics, written = reconstruct_live(
        source,
        chosen.model,
        output,
        chosen.reconstruction,
        chosen.streaming,
        chosen.run,
        chosen.camera,
        chosen.view,
        chosen.overwrite,
        chosen.refinement,
    )
    print(
        f"{statistics.frames_registered} of {statistics.frames_pushed} frames registered in "
        f"{statistics.segments_closed} segments, lost {statistics.losses} times, "
        f"{statistics.capacity:.2f} frames per second: {', '.join(map(str, written))}"
    )
