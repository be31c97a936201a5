"""Overview picture of a scene: input images and novel views between them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from common.data.sources.preprocess import denormalize
from common.drawing.panel import draw_panel
from common.views import Cameras
from uni3r.scene.flight import between, enlarged
from uni3r.scene.labels import beside, draw_legend
from uni3r.scene.painter import Painter
from uni3r.scene.scene_data import SceneData

_ROWS = {"color": "new views between them", "depth": "their depth", "segmentation": "their segmentation"}


def draw_overview(scene: SceneData, painter: Painter, scale: int = 1) -> NDArray[np.uint8]:
    """Rows of tiles: the pictures; half way between each two of them a new view, its depth, its classes, its heat.

    Args:
        scene: scene with at least one pose.
        painter: fitted painter of the scene.
        scale: factor by which tiles are larger than the network's images.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    size = (scene.size[0] * scale, scene.size[1] * scale)
    inputs = Cameras(scene.cameras.camera_to_world[scene.posed], scene.cameras.intrinsics[scene.posed])
    places = np.arange(len(scene.posed) - 1) + 0.5 if len(scene.posed) > 1 else np.zeros(1)
    cameras = enlarged(between(inputs, places), scale)
    renderings = [scene.render(cameras[place : place + 1], size)[0] for place in range(len(places))]
    pictures = [denormalize(scene.images[index].cpu()).numpy() for index in scene.posed]
    rows = {"pictures": [cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC) for image in pictures]}
    painted = [painter.paint(rendering) for rendering in renderings]
    rows |= {title: [one[name] for one in painted] for name, title in _ROWS.items() if name in painted[0]}
    if painter.labels is not None:
        legend = draw_legend(painter.labels.names, painter.labels.colors, max(12, size[0] // (len(painter.labels) + 1)))
        rows[_ROWS["segmentation"]].append(beside(legend, np.full((size[0], 1, 3), 255, np.uint8)))
    if painter.queries:
        heat = painter.heat_maps(renderings)
        rows |= {f"asked for: {word}": [view[i] for view in heat] for i, word in enumerate(painter.queries)}
    return draw_panel({name: [np.asarray(tile, np.uint8) for tile in tiles] for name, tiles in rows.items()})
