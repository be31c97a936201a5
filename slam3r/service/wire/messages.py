"""The messages that the service publishes. Field by field in ``schema.json``, which is made from here.

Coordinates: OpenCV camera axes, camera-to-world, pixel centres at integers. A world belongs to one ``part`` of one
segment of one stream; its unit is arbitrary, and different worlds do not compare. Every message carries ``type``,
``version``, ``stream_id``, ``segment`` and ``part``. A message may come twice after a failure: `message_id` tells.
"""

# ruff: noqa: RUF009 (`_array` and `_value` make dataclass fields)
from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from slam3r.service.wire.codec import Limits, MessageError, pack, unpack

VERSION = 1
"""Grows when a reader of the old messages could not read the new ones. New optional fields leave it as it is."""
_TEXT_LIMIT = 4096

MessageT = TypeVar("MessageT", bound="Message")


def _array(dtype: str, *shape: int | None, doc: str, optional: bool = False) -> Any:
    metadata = {"dtype": dtype, "shape": shape, "doc": doc}
    return field(metadata=metadata, default=None) if optional else field(metadata=metadata)


def _value(doc: str, default: Any = MISSING) -> Any:
    return field(metadata={"doc": doc}) if default is MISSING else field(metadata={"doc": doc}, default=default)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What all messages have."""

    TYPE: ClassVar[str] = ""
    stream_id: str = _value("the stream that the frames came from")
    segment: str = _value("video_segment of the frames")
    part: int = _value("number of the world within the segment, from 0; grows when tracking began again")

    @property
    def message_id(self) -> str:
        """The same for the same content, also when it is published again."""
        return f"{self.TYPE}:{self.stream_id}:{self.segment}:{getattr(self, 'timestamp_ns', self.part)}"

    def encode(self, compress: bool = False) -> tuple[bytes, str | None]:
        """Bytes and content encoding."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        present = {key: value for key, value in given.items() if value is not None}
        return pack({"type": self.TYPE, "version": VERSION, **present}, compress)


@dataclass(frozen=True, kw_only=True)
class FrameMessage(Message):
    """What all messages about a frame have."""

    timestamp_ns: int = _value("header of the frame")
    frame_index: int = _value("number of the frame in its world, in the order of arrival; -1 if it is in none")


@dataclass(frozen=True, kw_only=True)
class PoseMessage(FrameMessage):
    """Pose of a frame. Every accepted frame gets exactly one."""

    TYPE: ClassVar[str] = "pose"
    status: str = _value("registered, low_confidence, or unregistered (no world was found for it)")
    reason: str | None = _value("why it is unregistered", None)
    state: str = _value("tracking state: initialising, tracking, lost, relocalised")
    keyframe: bool = _value("whether windows are made of it")
    confidence: float = _value("mean confidence of the registration; 0 where unregistered")
    pose_inliers: float = _value("share of the confident pixels that agree with the pose")
    image_size: NDArray = _array("<i4", 2, doc="(height, width) of the frame as it came")
    camera_to_world: NDArray | None = _array("<f8", 4, 4, doc="absent where no pose was found", optional=True)
    intrinsics: NDArray | None = _array(
        "<f8", 3, 3, doc="pixels of the frame as it came; undistorted, where the camera is calibrated", optional=True
    )


@dataclass(frozen=True, kw_only=True)
class PointsMessage(FrameMessage):
    """Confident points that a frame adds, or a random choice of them."""

    TYPE: ClassVar[str] = "points"
    points: NDArray = _array("<f4", None, 3, doc="world")
    colors: NDArray = _array("|u1", None, 3, doc="RGB")
    confidence: NDArray = _array("<f4", None, doc="above the model's threshold")


@dataclass(frozen=True, kw_only=True)
class KeyframeMessage(FrameMessage):
    """A keyframe with all its pixels, in network resolution."""

    TYPE: ClassVar[str] = "keyframe"
    image: NDArray = _array("|u1", None, None, 3, doc="(H, W, 3) RGB")
    points: NDArray = _array("<f4", None, None, 3, doc="(H, W, 3) world")
    confidence: NDArray = _array("<f4", None, None, doc="(H, W)")
    network_intrinsics: NDArray = _array("<f8", 3, 3, doc="pixels of image")
    camera_to_world: NDArray | None = _array("<f8", 4, 4, doc="absent where no pose was found", optional=True)


@dataclass(frozen=True, kw_only=True)
class MeshMessage(Message):
    """The mesh of a world so far; replaces the one before."""

    TYPE: ClassVar[str] = "mesh_update"
    timestamp_ns: int = _value("of the newest frame in it")
    vertices: NDArray = _array("<f4", None, 3, doc="world")
    triangles: NDArray = _array("<i4", None, 3, doc="indices of vertices")
    colors: NDArray = _array("|u1", None, 3, doc="RGB of vertices")
    final: bool = _value("the segment is closed", False)


@dataclass(frozen=True, kw_only=True)
class BoundaryMessage(Message):
    """A world ends here: what follows on this stream has other coordinates."""

    TYPE: ClassVar[str] = "segment_boundary"
    reason: str = _value("segment, restart, idle, lost, failed, stopped or recovered")
    frames: int = _value("frames of the world that were published")


@dataclass(frozen=True, kw_only=True)
class SavedMessage(Message):
    """A closed segment was written to disk, or could not be."""

    TYPE: ClassVar[str] = "segment_saved"
    folder: str = _value("where")
    error: str | None = _value("why it could not be written; it is tried again", None)


MESSAGES: tuple[type[Message], ...] = (
    PoseMessage,
    PointsMessage,
    KeyframeMessage,
    MeshMessage,
    BoundaryMessage,
    SavedMessage,
)
_BY_TYPE = {kind.TYPE: kind for kind in MESSAGES}
_HINTS = {kind: get_type_hints(kind) for kind in MESSAGES}


def decode(body: bytes, encoding: str | None = None, limits: Limits | None = None) -> Message:
    """The message in bytes that came from anywhere.

    Args:
        body: of the AMQP message.
        encoding: its content encoding.
        limits: on sizes.

    Raises:
        MessageError: with the reason; unknown fields are passed over, as a newer sender may have them.
    """
    given = unpack(body, encoding, limits)
    version, name = given.get("version"), given.get("type")
    if version != VERSION:
        raise MessageError(f"version {version!r:.40} of the messages, {VERSION} is understood")
    kind = _BY_TYPE.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MessageError(f"unknown message type {name!r:.40}")
    values = {}
    for item in fields(kind):
        if item.name in given:
            _check(f"{name}.{item.name}", given[item.name], item.metadata, _HINTS[kind][item.name])
            values[item.name] = given[item.name]
        elif item.default is MISSING:
            raise MessageError(f"{name}: the field {item.name} is missing")
    return kind(**values)


def describe() -> dict[str, Any]:
    """The content of ``schema.json``."""
    return {"version": VERSION, "messages": {kind.TYPE: _describe(kind) for kind in MESSAGES}}


def _describe(kind: type[Message]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for item in fields(kind):
        entry: dict[str, Any] = {"type": _plain(_HINTS[kind][item.name]).__name__}
        if "dtype" in item.metadata:
            entry = {"type": "array", "dtype": item.metadata["dtype"], "shape": list(item.metadata["shape"])}
        described[item.name] = {**entry, "required": item.default is MISSING, "doc": item.metadata["doc"]}
    return {"doc": " ".join((kind.__doc__ or "").split()), "fields": described}


def _plain(hint: Any) -> Any:
    """The type of a hint without None."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _check(name: str, value: Any, metadata: Mapping[str, Any], hint: Any) -> None:
    if "dtype" in metadata:
        wanted = metadata["shape"]
        if not isinstance(value, np.ndarray) or value.dtype.str != metadata["dtype"]:
            raise MessageError(f"{name}: expected an array of {metadata['dtype']}")
        if len(wanted) != value.ndim or any(w is not None and w != a for w, a in zip(wanted, value.shape)):
            raise MessageError(f"{name}: expected the shape {list(wanted)}, got {list(value.shape)}")
        return
    kind = _plain(hint)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise MessageError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, str) and len(value) > _TEXT_LIMIT:
        raise MessageError(f"{name}: longer than {_TEXT_LIMIT} characters")
