"""The messages that the service publishes.

Coordinates: OpenCV camera axes, camera-to-world, pixel centres at integers. A world belongs to one ``part`` of one
segment of one stream; its unit is arbitrary, and different worlds do not compare. Every message carries ``type``,
``version``, ``stream_id``, ``segment`` and ``part``. A message may come twice after a failure; its `message_id` is the
same then.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slam3r.service.wire.arrays import ArrayOf
from slam3r.service.wire.codec import Limits, pack, unpack
from slam3r.service.wire.errors import MessageError
from slam3r.service.wire.names import identifier

VERSION = 1
"""Grows when a reader of the old messages could not read the new ones. New optional fields leave it as it is."""

Text = Annotated[str, Field(max_length=4096)]
Size2 = Annotated[NDArray[np.int32], ArrayOf("<i4", 2)]
Matrix33 = Annotated[NDArray[np.float64], ArrayOf("<f8", 3, 3)]
Matrix44 = Annotated[NDArray[np.float64], ArrayOf("<f8", 4, 4)]
Points = Annotated[NDArray[np.float32], ArrayOf("<f4", None, 3)]
Colors = Annotated[NDArray[np.uint8], ArrayOf("|u1", None, 3)]
Values = Annotated[NDArray[np.float32], ArrayOf("<f4", None)]
Triangles = Annotated[NDArray[np.int32], ArrayOf("<i4", None, 3)]
ColorImage = Annotated[NDArray[np.uint8], ArrayOf("|u1", None, None, 3)]
PointImage = Annotated[NDArray[np.float32], ArrayOf("<f4", None, None, 3)]
ValueImage = Annotated[NDArray[np.float32], ArrayOf("<f4", None, None)]


class Message(BaseModel):
    """Fields that all messages have."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")
    TYPE: ClassVar[str] = ""

    stream_id: Text = Field(description="the stream that the frames came from")
    segment: Text = Field(description="video_segment of the frames")
    part: int = Field(ge=0, description="number of the world within the segment; grows with every new world")

    @property
    def message_id(self) -> str:
        """Identifies the content: the same when it is published again."""
        return identifier(self.TYPE, self.stream_id, self.segment, self.part)

    def encode(self, compress: bool = False) -> tuple[bytes, str | None]:
        """Return bytes and content encoding."""
        present = {key: value for key, value in vars(self).items() if value is not None}
        return pack({"type": self.TYPE, "version": VERSION, **present}, compress)


class FrameMessage(Message):
    """Fields that all messages about a frame have."""

    timestamp_ns: int = Field(ge=-(2**63), lt=2**63, description="header of the frame")
    frame_index: int = Field(description="number of the frame in its world, in the order of arrival; -1: in none")

    @property
    def message_id(self) -> str:
        """Identifies the frame, whichever world it was registered in."""
        return identifier(self.TYPE, self.stream_id, self.segment, self.timestamp_ns)


class PoseMessage(FrameMessage):
    """Pose of a frame. Every accepted frame gets exactly one."""

    TYPE: ClassVar[str] = "pose"
    status: Text = Field(description="registered, low_confidence, or unregistered (no world was found for it)")
    reason: Text | None = Field(None, description="why it is unregistered")
    state: Text = Field(description="tracking state: initialising, tracking, lost, relocalised")
    keyframe: bool = Field(description="whether windows are made of it")
    confidence: float = Field(description="mean confidence of the registration; 0 where unregistered")
    pose_inliers: float = Field(description="share of the confident pixels that agree with the pose")
    image_size: Size2 = Field(description="(height, width) of the frame as it came")
    camera_to_world: Matrix44 | None = Field(None, description="absent where no pose was found")
    intrinsics: Matrix33 | None = Field(
        None, description="pixels of the frame as it came; undistorted, where the camera is calibrated"
    )


class PointsMessage(FrameMessage):
    """Confident points that a frame adds, or a random choice of them."""

    TYPE: ClassVar[str] = "points"
    points: Points = Field(description="(N, 3) world")
    colors: Colors = Field(description="(N, 3) RGB")
    confidence: Values = Field(description="(N,) above the model's threshold")

    @model_validator(mode="after")
    def _check(self) -> PointsMessage:
        if not len(self.points) == len(self.colors) == len(self.confidence):
            raise ValueError("points, colors and confidence must have the same length")
        return self


class KeyframeMessage(FrameMessage):
    """A keyframe with all its pixels, in network resolution."""

    TYPE: ClassVar[str] = "keyframe"
    image: ColorImage = Field(description="(H, W, 3) RGB")
    points: PointImage = Field(description="(H, W, 3) world")
    confidence: ValueImage = Field(description="(H, W)")
    network_intrinsics: Matrix33 = Field(description="pixels of image")
    camera_to_world: Matrix44 | None = Field(None, description="absent where no pose was found")

    @model_validator(mode="after")
    def _check(self) -> KeyframeMessage:
        if not self.image.shape[:2] == self.points.shape[:2] == self.confidence.shape:
            raise ValueError("image, points and confidence must have the same height and width")
        return self


class MeshMessage(Message):
    """The mesh of a world so far; replaces the one before."""

    TYPE: ClassVar[str] = "mesh_update"
    timestamp_ns: int = Field(description="of the newest frame in it")
    vertices: Points = Field(description="(V, 3) world")
    triangles: Triangles = Field(description="(T, 3) indices of vertices")
    colors: Colors = Field(description="(V, 3) RGB of the vertices")
    final: bool = Field(False, description="the world has ended")

    @property
    def message_id(self) -> str:
        """Identifies the newest frame in the mesh, and the last mesh of the world."""
        kind = (self.timestamp_ns, "final") if self.final else (self.timestamp_ns,)
        return identifier(self.TYPE, self.stream_id, self.segment, self.part, *kind)

    @model_validator(mode="after")
    def _check(self) -> MeshMessage:
        if len(self.colors) != len(self.vertices):
            raise ValueError("vertices and colors must have the same length")
        if self.triangles.size and not (self.triangles.min() >= 0 and self.triangles.max() < len(self.vertices)):
            raise ValueError(f"triangles must be indices of the {len(self.vertices)} vertices")
        return self


class BoundaryMessage(Message):
    """A world ends here: what follows on this stream has other coordinates."""

    TYPE: ClassVar[str] = "segment_boundary"
    reason: Text = Field(description="segment, restart, idle, lost, failed, stopped or recovered")
    frames: int = Field(ge=0, description="frames of the world that were published")


class SavedMessage(Message):
    """A closed segment was written to disk, or could not be."""

    TYPE: ClassVar[str] = "segment_saved"
    folder: Text = Field(description="where")
    error: Text | None = Field(None, description="why it could not be written; it is tried again")

    @property
    def message_id(self) -> str:
        """Tells success from failure."""
        return identifier(self.TYPE, self.stream_id, self.segment, self.part, "failed" if self.error else "saved")


class RefinedMessage(Message):
    """A saved segment was refined, and its folder replaced where that made it better."""

    TYPE: ClassVar[str] = "segment_refined"
    folder: Text = Field(description="where")
    applied: bool = Field(description="the folder holds the refined segment now; otherwise what it held before")
    verdict: Text | None = Field(
        None, description="how well pictures and cameras agree; absent where the refinement failed"
    )


MESSAGES: tuple[type[Message], ...] = (
    PoseMessage,
    PointsMessage,
    KeyframeMessage,
    MeshMessage,
    BoundaryMessage,
    SavedMessage,
    RefinedMessage,
)
_BY_TYPE = {kind.TYPE: kind for kind in MESSAGES}


def decode(body: bytes, encoding: str | None = None, limits: Limits | None = None) -> Message:
    """Read a message from bytes that came from anywhere.

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
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(place) for place in (name, *first["loc"]))
        raise MessageError(f"{where}: {first['msg']}") from None


def describe() -> dict[str, Any]:
    """Return the content of ``schema.json``: JSON Schema of a decoded message."""
    definitions = {kind.TYPE: _describe(kind) for kind in MESSAGES}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Messages of the live service, version {VERSION}",
        "description": "msgpack maps, compressed where the content encoding is zstd",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


def _describe(kind: type[Message]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    schema["properties"] = {"type": {"const": kind.TYPE}, "version": {"const": VERSION}, **schema["properties"]}
    schema["required"] = ["type", "version", *schema["required"]]
    return schema
