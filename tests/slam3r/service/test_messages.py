"""Messages: what goes in comes out, and nothing that comes in can do harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="needs the extra: service")

import msgpack
import zstandard

from common.files import read_json
from slam3r.service.wire import messages
from slam3r.service.wire.codec import Limits, MessageError, pack, unpack
from slam3r.service.wire.messages import KeyframeMessage, PointsMessage, PoseMessage, decode

ABOUT: dict[str, Any] = {
    "stream_id": "drone",
    "segment": "flight",
    "part": 1,
    "timestamp_ns": 1_700_000_000_000_001,
}


def pose(**changes) -> PoseMessage:
    values: dict[str, Any] = {
        "frame_index": 4,
        "status": "registered",
        "state": "tracking",
        "keyframe": True,
        "confidence": 7.5,
        "pose_inliers": 0.9,
        "image_size": np.array([480, 640], np.int32),
        "camera_to_world": np.linspace(0, 1, 16).reshape(4, 4),
    }
    return PoseMessage(**{**ABOUT, **values, **changes})


@pytest.mark.parametrize("compress", [False, True])
def test_round_trip(compress: bool) -> None:
    random = np.random.default_rng(0)
    sent = KeyframeMessage(
        **ABOUT,
        frame_index=0,
        image=random.integers(0, 256, (6, 8, 3), np.uint8),
        points=random.random((6, 8, 3), np.float32),
        confidence=random.random((6, 8), np.float32),
        network_intrinsics=np.eye(3),
    )
    body, encoding = sent.encode(compress)
    received = decode(body, encoding)
    assert isinstance(received, KeyframeMessage)
    assert received.camera_to_world is None
    for name, value in vars(sent).items():
        np.testing.assert_array_equal(getattr(received, name), value)


def test_arrays_are_little_endian_whatever_they_were() -> None:
    body, _ = pack({"a": np.arange(3, dtype=">f4"), "empty": np.zeros((0, 3), np.float32)})
    again = unpack(body)
    assert again["a"].dtype.str == "<f4"
    np.testing.assert_array_equal(again["a"], [0, 1, 2])
    assert again["empty"].shape == (0, 3)
    assert msgpack.unpackb(body)["a"]["data"] == np.arange(3, dtype="<f4").tobytes()  # readable without our code


def test_the_schema_file_is_that_of_the_code(root) -> None:
    """Made by ``write_json("slam3r/service/wire/schema.json", messages.describe())``."""
    assert read_json(root / "slam3r" / "service" / "wire" / "schema.json") == messages.describe()


def _changed(**fields) -> bytes:
    plain = msgpack.unpackb(pose().encode()[0])
    return msgpack.packb({**plain, **fields})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\x93\x01\x02\x03", "map of fields"),
        (_changed(version=2), "version 2"),
        (_changed(type="exec"), "unknown message type"),
        (_changed(confidence="high"), "expected float"),
        (_changed(segment="x" * 5000), "longer than"),
        (_changed(camera_to_world={"dtype": "|O", "shape": [1], "data": b"12345678"}), "unknown dtype"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [4, 4], "data": b"short"}), "does not fit"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [-4, -4], "data": bytes(128)}), "sizes"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [1 << 40, 0], "data": b""}), "sizes"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [2, 8], "data": bytes(128)}), "expected the shape"),
        (_changed(camera_to_world={"dtype": "<f4", "shape": [4, 4], "data": bytes(64)}), "expected an array of <f8"),
        (_changed(extra=msgpack.ExtType(4, b"code")), "extension type 4"),
        (msgpack.packb({str(number): 0 for number in range(100)}), "not msgpack"),
        (msgpack.packb({"type": "pose", "version": 1}), "missing"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(body: bytes, complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint):
        decode(body)


def test_a_small_message_cannot_unfold_into_a_large_one() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    assert len(bomb) < 1 << 14
    with pytest.raises(MessageError, match="larger than 1000000 bytes"):
        unpack(bomb, "zstd", Limits(message_bytes=1_000_000))
    with pytest.raises(MessageError, match="not zstd"):
        unpack(b"plain", "zstd")
    with pytest.raises(MessageError, match="content encoding"):
        unpack(b"", "gzip")


def test_damaged_bytes_never_do_more_than_be_refused() -> None:
    points = np.ones((20, 3), np.float32)
    cloud = PointsMessage(
        **ABOUT, frame_index=1, points=points, colors=np.ones((20, 3), np.uint8), confidence=points[:, 0]
    )
    random = np.random.default_rng(0)
    body = np.frombuffer(cloud.encode()[0], np.uint8)
    refused = 0
    for _ in range(500):
        damaged = body.copy()
        damaged[random.integers(0, len(body), 3)] = random.integers(0, 256, 3)
        try:
            decode(damaged[: random.integers(1, len(body) + 1)].tobytes())
        except MessageError:
            refused += 1
    assert refused > 400


def test_a_newer_sender_may_say_more() -> None:
    assert decode(_changed(weather="fine")).part == 1


def test_the_same_answer_has_the_same_id() -> None:
    assert pose().message_id == pose(confidence=1.0).message_id != pose(timestamp_ns=5).message_id
