"""Windows of RGB-D sequences on disk, one folder per scene, as `data_process` writes them.

A scene folder holds color/<frame>.jpg, depth/<frame>.png (16 bit, millimetres, 0 invalid), pose/<frame>.txt (4 x 4
camera to world, metres), intrinsics.txt (3 x 3, pixels) and, if there are labels, label/<frame>.png (8 bit).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.views import Views

_MILLIMETRES = 1000.0


@dataclass(frozen=True)
class ColorJitter:
    """Largest relative changes of the colours; 0 leaves them as they are."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    per_view: bool = False
    """Draw the changes for each view instead of once for the window."""

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Change images (V, 3, H, W) in [-1, 1]."""
        count = len(images) if self.per_view else 1
        limits = (self.brightness, self.contrast, self.saturation)
        draws = (1 + rng.uniform(-limit, limit, (count, 1, 1, 1)) for limit in limits)
        brightness, contrast, saturation = (torch.from_numpy(draw.astype(np.float32)) for draw in draws)
        images = (images + 1) * brightness - 1
        images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
        gray = (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        return torch.lerp(gray, images, saturation).clamp_(-1, 1)


class RgbdFolderDataset(Dataset[Views]):
    """Random windows of scenes. Item and epoch decide the window, on any machine and in any worker.

    Args:
        root: folder with one folder per scene.
        num_views: V, views of a window.
        stride: range [min, max] of frames from one view to the next; the largest that fits where a scene is short.
        size: (height, width) or one number for a square: frames are cropped about their middle to this shape and
            scaled. None keeps the size on disk.
        length: items per epoch; None for one per scene. Item i comes from scene i modulo the number of scenes.
        order: "forward", "either" (half of the windows run backwards) or "shuffled".
        jitter: change of the colours; None for none.
        seed: of everything random.

    An item is a `Views` without a batch axis; labels are None where a scene has none.
    """

    def __init__(
        self,
        root: Path | str,
        num_views: int = 5,
        stride: tuple[int, int] | int = (1, 2),
        size: tuple[int, int] | int | None = None,
        length: int | None = None,
        order: str = "either",
        jitter: ColorJitter | None = None,
        seed: int = 0,
    ) -> None:
        if order not in ("forward", "either", "shuffled"):
            raise ValueError(f"order must be forward, either or shuffled, not {order!r}")
        self.root, self.num_views, self.order, self.jitter, self.seed = Path(root), num_views, order, jitter, seed
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1]) if size else None
        self.scenes = sorted(path.parent for path in self.root.glob("[!.]*/intrinsics.txt"))
        if not self.scenes:
            raise FileNotFoundError(f"no scene folders (with an intrinsics.txt) in {self.root}")
        self.length = len(self.scenes) if length is None else length
        self._frames: dict[Path, list[str]] = {}
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Draw other windows. Workers that are already running see it too."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Views:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        scene = self.scenes[index % len(self.scenes)]
        views = read_views(scene, self._window(scene, rng), self.size)
        if self.jitter is not None:
            views.images = self.jitter(views.images, rng)
        return views

    def _window(self, scene: Path, rng: np.random.Generator) -> list[str]:
        """Frame names of a random window."""
        if scene not in self._frames:
            self._frames[scene] = frame_names(scene)
        names = self._frames[scene]
        if len(names) < self.num_views:
            raise ValueError(f"{scene} has {len(names)} frames, fewer than the {self.num_views} of a window")
        longest = (len(names) - 1) // max(1, self.num_views - 1)
        low, high = (min(limit, longest) for limit in self.stride)
        stride = int(rng.integers(low, high + 1))
        start = int(rng.integers(len(names) - (self.num_views - 1) * stride))
        window = names[start : start + (self.num_views - 1) * stride + 1 : stride]
        if self.order == "shuffled":
            return [window[k] for k in rng.permutation(len(window))]
        return window[::-1] if self.order == "either" and rng.random() < 0.5 else window


def frame_names(scene: Path) -> list[str]:
    """Names of all frames of a scene folder, in order."""
    return sorted(path.stem for path in (scene / "color").glob("*.jpg"))


def read_views(scene: Path, names: list[str], size: tuple[int, int] | None = None) -> Views:
    """Read frames of a scene folder, cropped about the middle and scaled to (height, width) if a size is given."""
    intrinsics = _read_matrix(scene / "intrinsics.txt", 3)
    labelled = (scene / "label").is_dir()
    images, depths, poses, labels = [], [], [], []
    for name in names:
        images.append(_read_image(scene / "color" / f"{name}.jpg", np.uint8, 3))
        depths.append(_read_image(scene / "depth" / f"{name}.png", np.uint16, 1))
        poses.append(_read_matrix(scene / "pose" / f"{name}.txt", 4))
        if labelled:
            labels.append(_read_image(scene / "label" / f"{name}.png", np.uint8, 1))
        for stack in (depths, labels):
            if stack and stack[-1].shape != images[0].shape[:2]:
                raise ValueError(f"frame {name} of {scene}: color, depth and label differ in size")
    if size is not None and size != images[0].shape[:2]:
        images, depths, labels, intrinsics = _resize(images, depths, labels, intrinsics, size)
    color = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    return Views(
        images=torch.from_numpy(color).div_(127.5).sub_(1),
        depth=torch.from_numpy(np.stack(depths).astype(np.float32) / _MILLIMETRES),
        camera_to_world=torch.from_numpy(np.stack(poses)),
        intrinsics=torch.from_numpy(np.tile(intrinsics, (len(names), 1, 1))),
        labels=torch.from_numpy(np.stack(labels).astype(np.int64)) if labelled else None,
    )


def _resize(images, depths, labels, intrinsics: np.ndarray, size: tuple[int, int]):
    """Crop about the middle to the shape of `size` and scale. Depth and labels take the nearest pixel, unmixed."""
    height, width = images[0].shape[:2]
    scale = max(size[0] / height, size[1] / width)
    crop = min(height, round(size[0] / scale)), min(width, round(size[1] / scale))
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    window = slice(top, top + crop[0]), slice(left, left + crop[1])

    def scaled(stack, method):
        return [cv2.resize(image[window], size[::-1], interpolation=method) for image in stack]

    x, y = size[1] / crop[1], size[0] / crop[0]
    change = np.array([[x, 0, x * (0.5 - left) - 0.5], [0, y, y * (0.5 - top) - 0.5], [0, 0, 1]], dtype=np.float32)
    color = scaled(images, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    nearest = cv2.INTER_NEAREST_EXACT
    return color, scaled(depths, nearest), scaled(labels, nearest), change @ intrinsics


def _read_image(path: Path, dtype: type, channels: int) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_UNCHANGED)
    if image is None:
        raise (ValueError(f"{path} is not an image") if path.exists() else FileNotFoundError(f"{path} is missing"))
    if image.dtype != dtype or image.ndim != (3 if channels == 3 else 2):
        raise ValueError(f"{path} has {image.dtype} pixels and shape {image.shape}; expected {np.dtype(dtype)}")
    return image


def _read_matrix(path: Path, size: int) -> np.ndarray:
    """A square matrix (size, size) float32 from a text file."""
    try:
        values = np.array(path.read_text().split(), dtype=np.float32)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except ValueError:
        raise ValueError(f"{path} does not hold numbers") from None
    if values.size != size * size or not np.isfinite(values).all():
        raise ValueError(f"{path} does not hold a finite {size} x {size} matrix")
    return values.reshape(size, size)
