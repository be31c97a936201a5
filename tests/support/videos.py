"""Video files for tests, whole and damaged."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_MILLISECOND = Fraction(1, 1000)


def textured_frames(count: int, height: int = 96, width: int = 128) -> Iterator[NDArray[np.uint8]]:
    """A sliding window over smooth noise: compresses like film, and no two frames are alike."""
    noise = np.random.default_rng(0).normal(size=(height + count, width + count, 3))
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda row: np.convolve(row, np.ones(9), mode="same"), axis, noise)
    picture = (128 + 8 * noise).clip(0, 255).astype(np.uint8)
    for number in range(count):
        yield np.ascontiguousarray(picture[number : number + height, number : number + width])


def write_video(
    path: Path,
    times: Sequence[int],
    codec: str = "libx264",
    key_frame_every: int = 8,
    pixel_aspect: Fraction | None = None,
    **options: str,
) -> Path:
    """A film of `textured_frames`, one per time in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = key_frame_every
        stream.codec_context.options = options
        stream.time_base = stream.codec_context.time_base = _MILLISECOND
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for time, image in zip(times, textured_frames(len(times))):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = int(time), _MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage_packets(path: Path, numbers: Sequence[int]) -> Path:
    """Overwrite packets of a video file with noise, in place."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data, noise = bytearray(path.read_bytes()), np.random.default_rng(1)
    for number in numbers:
        position, size = places[number]
        data[position : position + size] = noise.integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(data)
    return path
