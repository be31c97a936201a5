"""Command ``replay``: a finished run as a film, a recording for rerun, a picture, or in a window."""

from __future__ import annotations

from pathlib import Path

import torch

from common.command.line.output_folder import free_path
from common.drawing.preview import render_preview
from common.drawing.replay_film import GrowingMap, write_film
from common.drawing.rerun_log import write_rerun
from common.drawing.viewer_window import show_window
from common.errors import ConfigurationError
from common.export.result_folder import write_image
from common.files import check_file_writable
from common.paths import user_path
from slam3r.command.settings import ReplayCommand
from slam3r.scene.recording import read_run


def replay(chosen: ReplayCommand) -> None:
    """Read the run, and write the requested outputs: a film in the run's folder where nothing is asked for."""
    output = chosen.output
    if not (output or chosen.rerun or chosen.picture or chosen.window):
        output = str(free_path(user_path(chosen.run) / "replay", ".mp4"))
    for file in filter(None, (chosen.picture, chosen.rerun, output)):
        check_file_writable(file)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    recorded = read_run(chosen.run, chosen.confidence, chosen.max_points)
    growing = GrowingMap(recorded.points, recorded.colors, recorded.frame, recorded.camera_to_world, recorded.images)
    try:
        if chosen.picture:
            poses = recorded.posed
            image = render_preview(recorded.points, recorded.colors, poses, chosen.film.size, chosen.film.style)
            write_image(Path(chosen.picture), image)
        if chosen.rerun:
            write_rerun(Path(chosen.rerun), growing, recorded.intrinsics)
        if output:
            write_film(Path(output), growing, chosen.film)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
    for path in filter(None, (chosen.picture, chosen.rerun, output)):
        print(f"wrote {path}")
    if chosen.window:
        show_window(growing, chosen.film.fps, Path(chosen.viewpoint) if chosen.viewpoint else None)
