"""Reading image files: one reader for every kind of file that people have, and which of them are label images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from common.errors import InputError

with suppress(ImportError):  # an optional extra: the pictures of phones
    from pillow_heif import register_heif_opener

    register_heif_opener()

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
"""File name endings that count as images. HEIC (phones) needs the extra ``heic``; without it such files are reported,
not passed over."""

_JPEG_END = b"\xff\xd9"
_JPEG_TAIL = 1 << 16
_ORIENTATION = 0x0112
"""EXIF tag; 1 is upright."""
_FEWEST_BITS = 14
"""A 16-bit picture whose highest value needs fewer bits comes out dark: cameras of 10 or 12 bits write such files."""
_LABEL_NAME = re.compile(r"(?<![a-z])labels?(?![a-z])", re.IGNORECASE)
_MOST_LABELS = 64
"""Pictures of one channel with at most so many values are labels: NYU40 has 41, photographs in grey over 100."""


class ImageReadError(InputError):
    """An image file cannot be read: `path` and a `reason` in plain words."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        name = str(self.path).encode("utf-8", "backslashreplace").decode()
        return f"cannot read image {name}: {self.reason}"


@dataclass(frozen=True)
class Picture:
    """An image file that was read."""

    pixels: np.ndarray
    """(H, W, 3) uint8 RGB, upright."""
    oddity: str | None = None
    """Warning for the user, as the end of a sentence: "... is wholly transparent"."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, as it should be looked at.

    - The EXIF orientation is applied, so H and W are those of the upright image.
    - Transparency is composited over black. Where pixels are opaque, or the hidden colour is black (what most programs
      write), this is the same as dropping alpha; elsewhere it keeps invisible colours out of the image.
    - 16-bit images keep their high byte, grey and palette become RGB, of an animation the first picture is taken.

    Raises:
        ImageReadError: the file is missing, truncated, damaged, or of an unknown kind.
    """
    return read_picture(path).pixels


def read_picture(path: str | Path) -> Picture:
    """Read an image file as `read_image` does, and say what is odd about it."""
    try:
        _require_file(Path(path))
        with Image.open(path) as image:
            deep = _is_deep(image)
            image.load()
            oddity = _oddity(image, deep)
            return Picture(np.array(_to_rgb(ImageOps.exif_transpose(image))), oddity)
    except Exception as error:  # Pillow's decoders raise many kinds of exception on damaged files
        raise ImageReadError(path, _reason(path, error)) from error


def is_plain_file(path: str | Path) -> bool:
    """Whether other programs see the same pixels in a file as `read_image` gives.

    Most of them, COLMAP and nerfstudio among them, neither turn pictures by their EXIF orientation nor open HEIC.
    """
    try:
        _require_file(Path(path))
        with Image.open(path) as image:
            return image.format not in ("HEIF", "AVIF") and image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:  # see read_image
        return False


def is_label_image(path: Path) -> bool:
    """Whether a readable picture is a label image by its name, or by the few values of its palette or only channel:
    data sets keep such pictures, whose pixels are numbers of classes, beside their photographs."""
    if _LABEL_NAME.search(path.name):
        return True
    with Image.open(path) as image:
        return image.mode in ("1", "L", "P") and image.getcolors(_MOST_LABELS) is not None


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
        _require_file(Path(path))
        with Image.open(path) as image:
            kind = image.format
            image.verify()
        complete = kind == "PNG" or _ends_well(Path(path), kind)
    except Exception as error:
        raise ImageReadError(path, _reason(path, error)) from error
    if not complete:
        read_image(path)


def _require_file(path: Path) -> None:
    """Pipes and devices would be waited for; names that are not UTF-8 can be written to no result file."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError("this is a pipe, a socket or a device, not a file")
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("its name is not UTF-8; rename the file") from None


def _is_deep(image: Image.Image) -> bool:
    """Whether the file of an image that is not loaded yet has 16 bits per channel; Pillow keeps 8 of them in colour."""
    tile: Any = getattr(image, "tile", None)  # of images from files alone
    return bool(tile) and ";16" in str(tile[0][3])


def _oddity(image: Image.Image, deep: bool) -> str | None:
    """Properties of a picture that its owner may not expect, as the end of a sentence.

    Args:
        image: loaded.
        deep: the file has 16 bits per channel.
    """
    grey = image.mode.startswith("I")
    if grey or (deep and image.mode in ("RGB", "RGBA")):
        highest = int(np.asarray(image)[..., : None if grey else 3].max()) << (0 if grey else 8)
        if 0 < highest < 1 << _FEWEST_BITS:
            bits = highest.bit_length()
            return f"has 16 bits per channel but uses {bits}: it comes out dark; scale it by {1 << (16 - bits)} first"
    if "A" in image.getbands() and image.getchannel("A").getextrema()[1] == 0:
        return "is wholly transparent: it comes out black"
    return None


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
            kind = path.suffix[1:].upper()
            hint = "convert it to JPEG" if kind == "AVIF" else "install the extra `heic`, or convert it to JPEG"
            return f"there is no decoder for {kind}, or the file is damaged; {hint}"
        return "not an image, or damaged at its beginning"
    return str(error) or type(error).__name__
