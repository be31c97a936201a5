"""Renderings as pictures, with the same colours throughout a scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from common.drawing.colors import color_heat
from common.errors import ConfigurationError
from uni3r.rasterization import Rendering
from uni3r.scene.labels import color_labels, overlay
from uni3r.scene.renderings import FeatureColors, color_image, depth_image, depth_range
from uni3r.scene.scene_data import SceneData
from uni3r.semantics.labels import UNLABELLED, LabelSet, load_label_set
from uni3r.semantics.query import Query
from uni3r.semantics.word_search import WordSearch

_SEEN = 0.1
"""Opacity above which a pixel counts as covered."""


class Painter:
    """Paints one scene; renderings come without leading axes."""

    def __init__(self, scene: SceneData, queries: Sequence[str] = ()) -> None:
        """
        Args:
            scene: scene to paint.
            queries: words for `heat_maps`.

        Raises:
            ConfigurationError: there are queries, and the scene has no text encoder.
        """
        self._scene = scene
        self._range = (1.0, 2.0)
        self._features = self._segments = self._search = None
        if scene.gaussians.features is not None:
            self._features = FeatureColors.fit(scene.gaussians.features[0], scene.gaussians.opacities[0])
            if scene.text is not None:
                labels = load_label_set(scene.labels)
                self._segments = Query.of(scene.text, labels)
                self._search = WordSearch.of(scene.text, queries, labels) if queries else None
        if queries and self._search is None:
            raise ConfigurationError("queries: this model understands no words")

    @property
    def labels(self) -> LabelSet | None:
        """Classes of the segmentation; None if there is none."""
        return None if self._segments is None else self._segments.labels

    @property
    def queries(self) -> tuple[str, ...]:
        """The words of `heat_maps`."""
        return () if self._search is None else self._search.words

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """Queries that the model does not know; their heat maps are dark."""
        return () if self._search is None else self._search.unknown_words

    @property
    def search(self) -> WordSearch | None:
        """The search of the queries; None without any."""
        return self._search

    def fit(self, renderings: Sequence[Rendering]) -> None:
        """Choose the range of depths that the colours span."""
        depth, alpha = (torch.stack([getattr(one, name) for one in renderings]) for name in ("depth", "alpha"))
        self._range = depth_range(depth, alpha)

    def paint(self, rendering: Rendering) -> dict[str, NDArray[np.uint8]]:
        """Pictures (H, W, 3) of one view by name: color, depth, features, segmentation."""
        pictures = {
            "color": color_image(rendering.image),
            "depth": depth_image(rendering.depth, rendering.alpha, *self._range),
        }
        if self._features is not None and rendering.features is not None:
            pictures["features"] = self._features(rendering.features, rendering.alpha)
        if self._segments is not None and rendering.features is not None:
            pictures["segmentation"] = self._segmentation(rendering, self._segments)
        return pictures

    def heat_maps(self, renderings: Sequence[Rendering]) -> list[list[NDArray[np.uint8]]]:
        """Per view a picture (H, W, 3) per query: heat where it is, over the rendering in grey.

        Heat is relative to the content of these views (see `WordSearch`), so pass all views of a scene at once.
        """
        assert self._search is not None
        features = torch.cat([self._word_features(rendering) for rendering in renderings])
        size = (renderings[0].image.shape[-2], renderings[0].image.shape[-1])
        heat = torch.nn.functional.interpolate(self._search.heat(features), size, mode="bilinear", align_corners=False)
        maps = []
        for rendering, words in zip(renderings, heat.float().cpu().numpy(), strict=True):
            grey = color_image(rendering.image.mean(dim=0, keepdim=True).expand(3, -1, -1))
            maps.append([overlay(grey, color_heat(word), 0.25 + 0.75 * word) for word in words])
        return maps

    def _segmentation(self, rendering: Rendering, segments: Query) -> NDArray[np.uint8]:
        features = self._word_features(rendering)[0]
        size = (rendering.image.shape[-2], rendering.image.shape[-1])
        labels = segments.to(features.device).segment(features, dim=-3, size=size)
        labels = torch.where(rendering.alpha > _SEEN, labels, UNLABELLED)
        return color_labels(labels.cpu().numpy(), segments.labels.colors)

    def _word_features(self, rendering: Rendering) -> torch.Tensor:
        """(1, T, h, w)."""
        assert rendering.features is not None
        return self._scene.word_features(rendering.features[None])
