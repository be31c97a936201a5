"""Figures of an evaluation: error maps of the reconstruction, and plots of the trajectory against the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.drawing.preview import render_preview
from common.errors import ConfigurationError
from common.export.ply import write_ply
from common.files import atomic_path

LIMITS = (0.1, 0.2, 0.4, 1.0, 2.0, 4.0)
"""Ends of the colour scale of errors, metres."""
_BAR, _LABELS = 26, 96  # width of the colour bar and of its scale, pixels


def error_colors(errors: NDArray, limit: float) -> NDArray[np.uint8]:
    """(N, 3) RGB of errors (N,): blue for none, red from `limit` on."""
    shades = (np.clip(errors / limit, 0, 1) * 255).round().astype(np.uint8)
    return np.asarray(cv2.applyColorMap(shades[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1], np.uint8)


def choose_limit(errors: NDArray) -> float:
    """First of `LIMITS` above nine of ten errors (N,), or else the last, so that maps of good reconstructions share a
    scale, and poor ones are not of a single colour."""
    return next((limit for limit in LIMITS if np.quantile(errors, 0.9) <= limit), LIMITS[-1])


def write_error_map(folder: Path, points: NDArray, errors: NDArray, camera_to_world: NDArray) -> list[Path]:
    """``error_map.ply``, the reconstruction coloured by its distance to the truth, and a picture of it with a scale.

    Args:
        folder: folder to write to.
        points: (N, 3), aligned to the truth, metres.
        errors: (N,) metres.
        camera_to_world: (n, 4, 4) true poses, for the point of view.
    """
    limit = choose_limit(errors)
    colors = error_colors(errors, limit)
    cloud, picture = folder / "error_map.ply", folder / "error_map.png"
    write_ply(cloud, points, colors)
    image = render_preview(points, colors, camera_to_world, size=(540, 810))
    with atomic_path(picture) as temporary:
        cv2.imwrite(str(temporary), _with_scale(image, limit)[..., ::-1])
    return [cloud, picture]


def _with_scale(image: NDArray[np.uint8], limit: float) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with a colour bar on its right, in centimetres."""
    height = len(image)
    canvas = np.full((height, _BAR + _LABELS, 3), image[0, 0], np.uint8)
    top, bottom = height // 10, height - height // 10
    canvas[top:bottom, 8 : 8 + _BAR] = error_colors(np.linspace(limit, 0, bottom - top), limit)[:, None]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"{'>' if share == 1 else ''}{100 * limit * share:g} cm"
        place = (14 + _BAR, round(bottom - share * (bottom - top)) + 5)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([image, canvas], axis=1)


def write_trajectory_plot(
    path: Path, timestamps: NDArray, centres: NDArray, true_centres: NDArray, errors: NDArray, up: NDArray
) -> None:
    """Plot the aligned path from above, and its coordinates and error over time.

    Args:
        path: of the picture.
        timestamps: (N,) seconds.
        centres: (N, 3) aligned camera centres, metres.
        true_centres: (N, 3).
        errors: (N,) metres.
        up: (3,) direction from which the plan looks down.

    Raises:
        ConfigurationError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(f"plots need Matplotlib: bash scripts/setup.sh eval ({error})") from None
    basis = _plan_axes(true_centres, up)
    ours, true = (points - true_centres.mean(axis=0) for points in (centres, true_centres))
    ours, true, seconds = ours @ basis.T, true @ basis.T, timestamps - timestamps[0]
    figure = Figure(figsize=(10, 4.6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(4, 2)
    plan = figure.add_subplot(grid[:, 0])
    plan.plot(true[:, 0], true[:, 1], color="0.45", label="truth")
    plan.plot(ours[:, 0], ours[:, 1], color="tab:blue", label="estimate")
    plan.scatter(true[0, 0], true[0, 1], color="tab:green", zorder=3, s=24, label="start")
    plan.set(xlabel="metres", ylabel="metres", title="plan")
    plan.set_aspect("equal", adjustable="datalim")
    plan.legend(frameon=False)
    for axis, name in enumerate(("along (m)", "across (m)", "up (m)")):
        panel = figure.add_subplot(grid[axis, 1])
        panel.plot(seconds, true[:, axis], color="0.45")
        panel.plot(seconds, ours[:, axis], color="tab:blue")
        panel.set_ylabel(name)
        panel.tick_params(labelbottom=False)
    panel = figure.add_subplot(grid[3, 1])
    panel.plot(seconds, 100 * errors, color="tab:red")
    panel.set(xlabel="seconds", ylabel="error (cm)", ylim=(0, None))
    figure.align_ylabels()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _plan_axes(centres: NDArray, up: NDArray) -> NDArray[np.float64]:
    """(3, 3) rows: the main direction of the path on the ground, the one across, and up."""
    up = up / np.linalg.norm(up)
    level = centres - centres.mean(axis=0)
    level = level - np.outer(level @ up, up)
    along = np.linalg.svd(level, full_matrices=False)[2][0]
    along = along - along @ up * up
    if np.linalg.norm(along) < 1e-6:  # a path straight up: any level direction will do
        along = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    along /= np.linalg.norm(along)
    return np.stack([along, np.cross(up, along), up])
