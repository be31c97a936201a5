"""A window in which a map grows, where there is a display; viewpoints can be saved and used again."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.drawing.replay_film import GrowingMap
from common.errors import ConfigurationError
from common.export.mesh import frusta_lines
from common.files import atomic_path

logger = logging.getLogger(__name__)


def show_window(growing: GrowingMap, fps: float, viewpoint: Path | None = None) -> None:
    """Show the map growing; returns when the window is closed.

    Keys: V saves the viewpoint to the file, Space halts and goes on, Q closes.

    Args:
        growing: the map, by steps.
        fps: steps per second.
        viewpoint: a JSON file of Open3D; read at the beginning if it is there, written by V.

    Raises:
        ConfigurationError: there is no display.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigurationError("window: there is no display here; a film needs none: output=replay.mp4")
    import open3d as o3d

    window = o3d.visualization.VisualizerWithKeyCallback()
    if not window.create_window("Replay", 1280, 720):
        raise ConfigurationError("window: it could not be opened; a film needs none: output=replay.mp4")
    state = {"halted": False}
    window.register_key_callback(ord(" "), lambda _: state.update(halted=not state["halted"]) or False)
    if viewpoint is not None:
        window.register_key_callback(ord("V"), lambda shown: _save_viewpoint(shown, viewpoint))
    window.get_render_option().background_color = np.array([238, 240, 243]) / 255
    alive, step, whole = True, 0, len(growing.camera_to_world)
    size = float(np.linalg.norm(np.ptp(growing.points, axis=0)))
    while alive:
        if step < whole and not state["halted"]:
            _add_step(window, growing, step, size)
            if step == 0 and viewpoint is not None and viewpoint.is_file():
                camera = o3d.io.read_pinhole_camera_parameters(viewpoint)
                window.get_view_control().convert_from_pinhole_camera_parameters(camera, allow_arbitrary=True)
            step += 1
        until = time.perf_counter() + 1 / fps
        while alive and time.perf_counter() < until:
            alive = window.poll_events()
            window.update_renderer()
            time.sleep(0.005)
    window.destroy_window()


def _add_step(window: Any, growing: GrowingMap, step: int, size: float) -> None:
    import open3d as o3d

    new = growing.step == step
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(growing.points[new].astype(np.float64)))
    cloud.colors = o3d.utility.Vector3dVector(growing.colors[new] / 255.0)
    window.add_geometry(cloud, reset_bounding_box=step == 0)
    pose = growing.camera_to_world[step]
    if np.isfinite(pose).all():
        ends = frusta_lines(pose[None], size).astype(np.float64)
        lines = o3d.geometry.LineSet(
            o3d.utility.Vector3dVector(ends.reshape(-1, 3)),
            o3d.utility.Vector2iVector(np.arange(2 * len(ends)).reshape(-1, 2)),
        )
        lines.paint_uniform_color([0.15, 0.43, 0.9])
        window.add_geometry(lines, reset_bounding_box=False)


def _save_viewpoint(window: Any, path: Path) -> bool:
    import open3d as o3d

    with atomic_path(path) as temporary:
        camera = window.get_view_control().convert_to_pinhole_camera_parameters()
        named = temporary.with_name(temporary.name + ".json")  # Open3D goes by the suffix
        o3d.io.write_pinhole_camera_parameters(named, camera)
        named.replace(temporary)
    logger.info("viewpoint saved to %s", path)
    return False
