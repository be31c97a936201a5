"""VGGT (Wang et al. 2025): points, depth and cameras of unposed images. For Uni3R it is a teacher of geometry."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from uni3r.models.feature_compressor import resize_features
from uni3r.models.geometry_model import Geometry, GeometryModel

PUBLISHED_SIZES: dict[str, Any] = {
    "patch_size": 14,
    "table_side": 37,
    "intrinsics": "none",
    "camera_head": True,
    "depth_head": True,
}


class VGGT(GeometryModel):
    """Loads VGGT-1B, and the copy of it inside Uni3R files after ``scripts/convert.py``."""

    ignored_prefixes = ("attribute_head.", "feature_compressor.")

    def __init__(self, **sizes: Any) -> None:
        """
        Args:
            **sizes: fields of `uni3r.models.config.Uni3RConfig`; what is not given has VGGT's published value.
        """
        super().__init__(**{**PUBLISHED_SIZES, **sizes})

    @classmethod
    def infer_config(cls, state: dict[str, Tensor]) -> dict[str, Any]:  # type: ignore[override]
        """Infer the sizes (see `GeometryModel.infer_config`) and which heads the file has."""
        heads = {name: any(key.startswith(f"{name}.") for key in state) for name in ("camera_head", "depth_head")}
        return {**super().infer_config(state), **heads}

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Geometry:
        """
        Args:
            images: (B, V, 3, h, w) in [-1, 1].
            size: (height, width) to enlarge them to, bilinearly, multiples of the patch size; None leaves them. VGGT
                works best at a longer side of 518, and teaches Uni3R at (518, 518).

        Returns:
            The geometry at the enlarged size.
        """
        images = images if size is None else resize_features(images, size)
        return self.geometry(self.backbone(images))
