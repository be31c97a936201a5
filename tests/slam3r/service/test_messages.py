"""Messages: what goes in comes out, and nothing that comes in can do harm."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="needs the extra: service")

import msgpack
import zstandard

from common.files import read_json
from slam3r.service.wire import messages
from slam3r.service.wire.bounds import MOST_OBJECTS
from slam3r.service.wire.codec import Limits, pack, unpack
from slam3r.service.wire.errors import MessageError
from slam3r.service.wire.messages import KeyframeMessage, MeshMessage, PointsMessage, PoseMessage, decode
from slam3r.service.wire.names import LONGEST_NAME_BYTES, check_name

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
    """It is made by ``write_json("slam3r/service/wire/schema.json", messages.describe())``."""
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
        (_changed(confidence="high"), "pose.confidence: Input should be a valid number"),
        (_changed(segment="x" * 5000), "pose.segment: String should have at most 4096 characters"),
        (_changed(camera_to_world={"dtype": "|O", "shape": [1], "data": b"12345678"}), "unknown dtype"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [4, 4], "data": b"short"}), "does not fit"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [-4, -4], "data": bytes(128)}), "sizes"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [1 << 40, 0], "data": b""}), "sizes"),
        (_changed(camera_to_world={"dtype": "<f8", "shape": [2, 8], "data": bytes(128)}), "expected the shape"),
        (_changed(camera_to_world={"dtype": "<f4", "shape": [4, 4], "data": bytes(64)}), "expected an array of <f8"),
        (_changed(extra=msgpack.ExtType(4, b"code")), "extension type 4"),
        (_changed(extra=[[[[[[]]]]]]), "levels"),
        (_changed(keyframe=1), "pose.keyframe: Input should be a valid boolean"),
        (_changed(part=-1), "pose.part: Input should be greater than or equal to 0"),
        (pose().encode()[0] + b"\x00", "left over"),
        (pose().encode()[0][:-1], "cut short"),
        (msgpack.packb({str(number): 0 for number in range(MOST_OBJECTS)}), "more than 1024 objects"),
        (msgpack.packb({"type": "pose", "version": 1}), "pose.stream_id: Field required"),
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


@pytest.mark.parametrize("inside", [b"\x90" * 16_000_000, b"\x91" * 1_000_000 + b"\x00"])
def test_a_message_is_bounded_in_objects_too(inside: bytes) -> None:
    """A byte can stand for an object of 56: what unfolds to many is refused before any of them is made."""
    body = b"\x81\xa1x\xdd" + len(inside).to_bytes(4, "big") + inside
    packed = zstandard.ZstdCompressor().compress(body)
    tracemalloc.start()
    try:
        begun = time.process_time()
        with pytest.raises(MessageError, match="more than"):
            decode(packed, "zstd")
        seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body)
    assert seconds < 2


def test_arrays_that_belong_together_fit_together() -> None:
    random = np.random.default_rng(0)
    cloud = {"points": random.random((5, 3), np.float32), "colors": np.zeros((5, 3), np.uint8)}
    with pytest.raises(ValueError, match="same length"):
        PointsMessage(**ABOUT, frame_index=0, **cloud, confidence=np.zeros(4, np.float32))
    image, points = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.float32)
    with pytest.raises(ValueError, match="same height and width"):
        KeyframeMessage(
            **ABOUT,
            frame_index=0,
            image=image,
            points=points,
            confidence=np.zeros((6, 4), np.float32),
            network_intrinsics=np.eye(3),
        )
    mesh = {"vertices": cloud["points"], "colors": cloud["colors"]}
    assert MeshMessage(**ABOUT, **mesh, triangles=np.array([[0, 1, 4]], np.int32)).final is False
    for triangle in ([0, 1, 5], [-1, 0, 1]):
        with pytest.raises(ValueError, match="indices of the 5 vertices"):
            MeshMessage(**ABOUT, **mesh, triangles=np.array([triangle], np.int32))
    with pytest.raises(ValueError, match="vertices and colors"):
        MeshMessage(**ABOUT, **{**mesh, "colors": mesh["colors"][:4]}, triangles=np.zeros((0, 3), np.int32))


def test_messages_fit_the_published_schema(root) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra: dev")
    validator = jsonschema.Draft202012Validator(read_json(root / "slam3r" / "service" / "wire" / "schema.json"))
    plain = msgpack.unpackb(pose().encode()[0])
    plain["camera_to_world"]["data"] = plain["image_size"]["data"] = "binary"  # JSON has none
    validator.validate(plain)
    for change in ({"part": "one"}, {"type": "mesh_update"}, {"camera_to_world": {**plain["image_size"]}}):
        assert not validator.is_valid({**plain, **change})


@pytest.mark.parametrize("letter", ["x", "é", "鏡", "😀"])
def test_names_are_bounded_in_bytes_and_so_is_all_that_is_made_of_them(letter: str) -> None:
    """An AMQP short string has 255 bytes, however many characters they are."""
    longest = letter * (LONGEST_NAME_BYTES // len(letter.encode()))
    assert check_name(longest) == longest
    with pytest.raises(ValueError, match="128 bytes"):
        check_name(longest + letter)
    sent = pose(stream_id=longest, segment=longest)
    assert len(sent.message_id.encode()) <= 255
    assert sent.message_id != pose(stream_id=longest, segment=longest, timestamp_ns=5).message_id


def test_message_ids_are_unambiguous() -> None:
    assert pose(stream_id="a:b", segment="c").message_id != pose(stream_id="a", segment="b:c").message_id


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
