"""Reading image files: one reader for every kind of file that people have, and the order of numbered names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
"""File name endings that count as images. HEIC (phones) is here so that such files are reported, not passed over."""

_JPEG_END = b"\xff\xd9"
_JPEG_TAIL = 1 << 16


class ImageReadError(InputError):
    """An image file cannot be read: `path` and a `reason` in plain words."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read image {self.path}: {self.reason}"


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, as it should be looked at.

    - The EXIF orientation is applied, so H and W are those of the upright image.
    - Transparency is composited over black. Where pixels are opaque, or the hidden colour is black (what most programs
      write), this is the same as dropping alpha; elsewhere it keeps invisible colours out of the image.
    - 16-bit images keep their high byte, grey and palette become RGB, of an animation the first picture is taken.

    Raises:
        ImageReadError: the file is missing, truncated, damaged, or of an unknown kind.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return np.array(_to_rgb(upright))
    except Exception as error:  # Pillow's decoders raise many kinds of exception on damaged files
        raise ImageReadError(path, _reason(path, error)) from error


def decode_image(body: bytes, formats: Sequence[str], max_pixels: int) -> np.ndarray:
    """Read an image from memory like `read_image`, but trust nothing.

    Args:
        body: the bytes of a file.
        formats: Pillow's names of the formats that may be read, e.g. ``("JPEG", "PNG")``; no other decoder is tried.
        max_pixels: bound on height times width, checked before the pixels are decoded.

    Raises:
        ImageReadError: damaged, truncated, too large, or of another format. Its path is ``<memory>``.
    """
    try:
        with Image.open(BytesIO(body), formats=tuple(formats)) as image:
            if image.width * image.height > max_pixels:
                raise ValueError(f"{image.width} x {image.height} pixels, {max_pixels} are the limit")
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except Exception as error:  # see read_image
        known = ", ".join(formats)
        unknown = isinstance(error, Image.UnidentifiedImageError)
        raise ImageReadError("<memory>", f"not {known}" if unknown else _reason("<memory>", error)) from error


def check_image(path: str | Path) -> None:
    """Check quickly that an image file is complete: its header, its checksums (PNG) and its end (JPEG, WebP).

    Pixels are decoded only for formats or files where nothing cheaper tells. Damage inside a file can escape this; then
    `read_image` raises.

    Raises:
        ImageReadError: the file is missing, truncated, damaged, or of an unknown kind.
    """
    try:
        with Image.open(path) as image:
            kind = image.format
            image.verify()
        complete = kind == "PNG" or _ends_well(Path(path), kind)
    except Exception as error:
        raise ImageReadError(path, _reason(path, error)) from error
    if not complete:
        read_image(path)


def _ends_well(path: Path, kind: str | None) -> bool:
    """Whether a JPEG or WebP file certainly reaches to its end; False where that is not certain, or another format."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind == "WEBP":
            header = file.read(8)
            return header[:4] == b"RIFF" and int.from_bytes(header[4:8], "little") + 8 <= size
        if kind in ("JPEG", "MPO"):
            file.seek(max(0, size - _JPEG_TAIL))
            return file.read().rstrip(b"\0").endswith(_JPEG_END)
    return False


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image of any mode."""
    if image.mode == "F":
        raise ValueError("its pixels are floating point numbers, not colours")
    if image.mode.startswith("I"):  # 16 bits; "I" is also how older versions of Pillow open 16-bit PNG
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have 32 bits, 8 or 16 are expected")
        image = Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    elif "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _reason(path: str | Path, error: Exception) -> str:
    path = Path(path)
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if path.is_dir():
        return "this is a folder"
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        if path.suffix.lower() in (".heic", ".heif", ".avif"):
            return f"this installation of Pillow has no {path.suffix[1:].upper()} decoder; convert the file to JPEG"
        return "not an image, or damaged at its beginning"
    return str(error) or type(error).__name__


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that reads numbers as numbers: ``frame-2`` before ``frame-10``. Upper and lower case sort alike."""
    parts: list[str | int] = re.split(r"(\d+)", name.casefold())  # text, number, text, ... so that kinds never meet
    parts[1::2] = [int(number) for number in parts[1::2]]
    return parts, name


def select_names(names: Iterable[str], suffix: str | None = None, exclude: str | None = "depth") -> list[str]:
    """Those of `names` that are frames, in the order of their numbers.

    The order is the natural order of the whole name. For names that differ by one number this is the published order;
    the published code looks at the last number alone, and fails on names without one, which here sort alphabetically.

    Args:
        names: relative paths with forward slashes.
        suffix: wanted ending such as ``.color.png``; None for any of `IMAGE_SUFFIXES`. Case does not matter.
        exclude: leave out files whose name (without folders) contains this, in any case; None or "" for none.
            Hidden files (``.DS_Store``, ``._IMG_1.jpg``) are always left out.
    """
    endings = (suffix.lower(),) if suffix else IMAGE_SUFFIXES
    chosen = []
    for name in names:
        base = name.rsplit("/", 1)[-1].lower()
        if base.endswith(endings) and not base.startswith(".") and not (exclude and exclude.lower() in base):
            chosen.append(name)
    return sorted(chosen, key=natural_key)


def list_files(folder: str | Path, recursive: bool = False) -> list[str]:
    """Names of all files in a folder, relative to it, with forward slashes, unsorted. Raises OSError."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                names.append(entry.name)
            elif recursive:
                names += [f"{entry.name}/{name}" for name in list_files(entry.path, recursive)]
    return names
