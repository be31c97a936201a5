"""Settings of an offline run and of what it writes. Imports no torch, so that `--help` can read them quickly."""

from __future__ import annotations

from dataclasses import dataclass

from common.image_size import check_image_size
from common.ranges import Count, CountOrZero, Pixels, Share


@dataclass(frozen=True)
class ExportSettings:
    """Selection of points, and optional output files."""

    confidence: float | None = None
    """Points of strictly higher confidence are kept; None takes the model's threshold, as far as `share` allows. Of a
    refined scene, the points confirmed by other views are kept, independently of this."""
    share: Share = 0.5
    """Smallest share of points that is kept, the most confident ones, if `confidence` is not given: confidences of
    images unlike the training data are low throughout."""
    unconfirmed: bool = False
    """Keep the points of a refined scene that no other view confirms as well."""
    max_points: CountOrZero = 2_000_000
    """Largest number of points kept, a uniform random choice; 0 keeps all."""
    unrefined_points: CountOrZero = 300_000
    """Largest number of points of a refined scene as it was before, in ``unrefined.ply``; 0 writes none."""
    colmap: bool = False
    """Write a COLMAP model to ``sparse/0``."""
    colmap_points: CountOrZero = 200_000
    """Largest number of points in it."""
    depths: bool = False
    """Write depth maps in the pixels of the original pictures to ``depths``."""
    mesh: bool = False
    """Write ``mesh.ply``: a surface fused from all depth maps; of a refined scene, from confirmed depth and adjusted
    poses."""
    images: bool | None = None
    """Write the frames to ``images`` as JPEG, upright and in their original size, while reconstructing.

    None writes them where the input has no files in which other programs see the same pixels: videos, turned
    photographs, HEIC."""
    preview: bool = True
    """Draw preview.png."""
    strip: bool = True
    """Draw frames.png: some frames with their depths and confidences."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share}")
        if min(self.max_points, self.colmap_points, self.unrefined_points) < 0:
            raise ValueError("max_points, colmap_points and unrefined_points must not be negative")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; of these, only the size changes results."""

    device: str = "auto"
    """auto, cuda, mps or cpu."""
    dtype: str = "auto"
    """Type of the matrix products: auto, float32 or bfloat16."""
    size: tuple[Pixels, Pixels] = (224, 224)
    """Height and width of the networks' images, multiples of 16; they were trained on 224."""
    push_batch: Count = 10
    """Frames given to the reconstructor at once."""
    read_ahead: Count = 16
    """Frames decoded ahead."""
    progress: bool = True
    """Report it: a bar on a terminal, elsewhere a line every half minute."""

    def __post_init__(self) -> None:
        check_image_size(self.size)
        for name in ("push_batch", "read_ahead"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
