"""The data of a scene that Uni3R built: Gaussians, the cameras they were seen from, and how to render them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.preprocess import intrinsics_to_original
from common.refinement.outcome import Verdict
from common.views import Cameras, Pointmaps
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.description import Background
from uni3r.models.uni3r import Uni3R
from uni3r.rasterization import RasterizationSettings, Rendering, rasterize
from uni3r.rasterization.background import over_background
from uni3r.semantics.teacher import TextSide

NEAR, FAR = 0.02, 100.0
"""Clipping planes of renderings, as multiples of the median depth."""


@dataclass(frozen=True)
class InputView:
    """One picture that the scene was built from."""

    name: str
    number: int
    """Index of the picture in the whole input, from 0."""
    original_size: tuple[int, int]
    """(height, width), pixels."""
    original_from_network: Tensor
    """(3, 3) affine between pixel coordinates, see `common.data.sources.preprocess.Preprocessed`."""
    file: Path | None = None


@dataclass
class SceneData:
    """A scene with its inputs, and its rendering.

    The world frame is that of the given poses, or else the camera of the first view with the network's own unit.
    """

    gaussians: Gaussians
    """(1, N)."""
    cameras: Cameras
    """(V,) of the input views at network size; poses are NaN where none was found."""
    images: Tensor
    """(V, 3, H, W) input views in [-1, 1]."""
    pointmaps: Pointmaps
    """(V, H, W, ..) of the network, in the camera of view 0 and its unit."""
    views: list[InputView]
    network: Uni3R
    """The network that built the scene; it expands rendered features."""
    text: TextSide | None
    """Text encoder of the segmentation and of queries, or None."""
    labels: str
    """Name of the label set of the segmentation."""
    sh_degree: int | None
    background: Background
    intrinsics_from: Literal["given", "field of view", "estimated", "matched"]
    poses_from: Literal["given", "own", "matched"]
    settings: RasterizationSettings = field(default_factory=RasterizationSettings)
    seconds: dict[str, float] = field(default_factory=dict)
    """Run time per stage."""
    model: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    """Agreement of the pictures with estimated cameras."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's images."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def posed(self) -> list[int]:
        """Views with a pose."""
        return self.cameras.camera_to_world.isfinite().all(dim=(-2, -1)).nonzero()[:, 0].tolist()

    @property
    def median_depth(self) -> float:
        """Median depth of the Gaussians in front of the first posed camera, in the unit of the scene."""
        pose = self.cameras.camera_to_world[self.posed[0]]
        depth = ((self.gaussians.means[0] - pose[:3, 3]) * pose[:3, 2]).sum(dim=-1)
        ahead = depth[depth > 0]
        return float(ahead.median()) if len(ahead) else 1.0

    @torch.no_grad()
    def render(self, cameras: Cameras, size: tuple[int, int] | None = None) -> Rendering:
        """Render the scene.

        Args:
            cameras: (M,), with intrinsics in pixels of `size`.
            size: (height, width) of the renderings; None takes that of the network.

        Returns:
            (M, ..) renderings over the scene's background.
        """
        depth = self.median_depth
        lifted = Cameras(cameras.camera_to_world[None], cameras.intrinsics[None])
        rendering = rasterize(
            self.gaussians,
            lifted.to(self.gaussians.means.device),
            size or self.size,
            near=NEAR * depth,
            far=FAR * depth,
            sh_degree=self.sh_degree,
            settings=self.settings,
        )[0]
        return replace(rendering, image=over_background(rendering, (self.images + 1) / 2, self.background))

    @torch.no_grad()
    def word_features(self, features: Tensor) -> Tensor:
        """Rendered features (M, C, H, W) in the space of the text encoder, possibly smaller: (M, T, h, w)."""
        compressor = self.network.feature_compressor
        return features if compressor is None else compressor.expand(features[None])[0]

    @torch.no_grad()
    def word_vectors(self, features: Tensor) -> Tensor:
        """Features (N, C) of Gaussians in the space of the text encoder, (N, T)."""
        compressor = self.network.feature_compressor
        return features if compressor is None else compressor.expand_vectors(features)

    def original_intrinsics(self, view: int) -> NDArray:
        """(3, 3) of a view in pixels of the original picture."""
        matrix = self.cameras.intrinsics[view].cpu().double()
        return intrinsics_to_original(matrix, self.views[view].original_from_network).numpy()
