"""The parts of the service by themselves, without a broker."""

from __future__ import annotations

import asyncio
import errno
import io
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from tests.support.configs import compose_config

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.configuration import to_dataclass
from common.errors import ConfigurationError, InputError
from common.export.ply import read_ply
from common.export.trajectory import read_tum
from slam3r.live.frame_preparer import FramePreparer
from slam3r.live.scene_map import SceneMap
from slam3r.service.frames import FrameKey, IncomingFrame, PoisonFrame, decode_frame, read_key
from slam3r.service.health import Health, serve_http
from slam3r.service.intake import Intake, Restart
from slam3r.service.ledger import Ledger
from slam3r.service.mesher import MotionGate
from slam3r.service.metrics import Metrics
from slam3r.service.saved_state import Pending, StateFolder, StreamState
from slam3r.service.segments import ClosedWorld, SegmentSaver, TrajectoryRecorder, choose_folder
from slam3r.service.settings import HttpSettings, IntakeSettings, SegmentSettings, ServiceSettings
from slam3r.service.streams import WorldEnded
from tests.support.service_worker import LIVE, jpeg


class Message:
    """A delivery that counts its acknowledgements."""

    def __init__(self, body: bytes = b"", headers: dict | None = None) -> None:
        self.body, self.headers, self.acks = body, headers or {}, 0

    async def ack(self, multiple: bool = False) -> None:
        self.acks += 1


def incoming(number: int, body: bytes = b"") -> IncomingFrame:
    return IncomingFrame(FrameKey("s", "a", number), Message(body), 0.0)


def test_a_frame_is_known_by_stream_segment_and_timestamp() -> None:
    assert read_key({"timestamp_ns": 5}) == FrameKey("default", "default", 5)
    assert read_key({"timestamp_ns": b"5", "video_segment": "b", "stream_id": 7}) == FrameKey("7", "b", 5)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"timestamp_ns": "noon"},
        {"timestamp_ns": 1.5},
        {"timestamp_ns": True},
        {"timestamp_ns": 1 << 70},
        {"timestamp_ns": 1, "video_segment": "x" * 200},
        {"timestamp_ns": 1, "video_segment": "a\nb"},
        {"timestamp_ns": 1, "stream_id": b"\xff"},
        {"timestamp_ns": 1, "stream_id": ["a"]},
    ],
)
def test_faulty_headers_are_poison(headers: dict) -> None:
    with pytest.raises(PoisonFrame):
        read_key(headers)


def _png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_content_decides_what_an_image_is() -> None:
    settings, prepare = IntakeSettings(max_pixels=10_000, max_frame_bytes=100_000), FramePreparer((32, 32))
    assert decode_frame(incoming(0, jpeg(0)), prepare, settings).prepared.original_size == (48, 64)
    assert decode_frame(incoming(0, _png(20, 30)), prepare, settings).prepared.original_size == (20, 30)
    gif = io.BytesIO()
    Image.new("L", (9, 9)).save(gif, "GIF")
    for body, reason in (
        (b"", "zero bytes"),
        (bytes(200_000), "are the limit"),
        (_png(200, 200), "40000|200 x 200 pixels"),
        (gif.getvalue(), "not JPEG, PNG, WEBP"),
        (jpeg(0)[:-300], "truncated"),
    ):
        with pytest.raises(PoisonFrame, match=reason):
            decode_frame(incoming(0, body), prepare, settings)


def test_live_drops_the_oldest_and_recorded_drops_nothing() -> None:
    async def fill(policy) -> tuple[list[int], list[int]]:
        line, gone = Intake(policy, 3), []
        for number in range(6):
            oldest = line.put(incoming(number))
            gone += [oldest.key.timestamp_ns] if oldest else []
            if number == 0:
                line.put(Restart())  # never dropped
        kept = [await line.get() for _ in range(len(line) + 1)]
        return gone, [item.key.timestamp_ns for item in kept if isinstance(item, IncomingFrame)]

    assert asyncio.run(fill("drop_oldest")) == ([0, 1, 2], [3, 4, 5])
    assert asyncio.run(fill("block")) == ([], [0, 1, 2, 3, 4, 5])


def test_every_delivery_of_a_frame_is_acknowledged_once_it_is_done(tmp_path: Path) -> None:
    async def scene() -> None:
        ledger, key = Ledger(10, tmp_path / "journal"), FrameKey("s", "a", 1)
        first, again, late = Message(), Message(), Message()
        assert ledger.offer(key, first) == "new"
        assert ledger.offer(key, again) == "open"
        assert first.acks == again.acks == 0
        await ledger.complete(key)
        assert first.acks == again.acks == 1
        assert ledger.offer(key, late) == "done"
        dropped = FrameKey("s", "a", 2)
        ledger.offer(dropped, late)
        await ledger.complete(dropped, remember=False)
        assert ledger.offer(dropped, late) == "new"  # what was dropped may be sent again

    asyncio.run(scene())


def test_a_new_worker_knows_what_the_killed_one_published(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "journal"
        killed = Ledger(100, path)
        for number in range(1000):
            await killed.complete(FrameKey("s", "a", number))
        assert len(path.read_text().splitlines()) <= 201
        with path.open("a") as file:
            file.write('["s", "a", 1')  # it died in the middle of a line
        successor = Ledger(100, path)
        assert successor.offer(FrameKey("s", "a", 999), Message()) == "done"
        assert successor.offer(FrameKey("s", "a", 1000), Message()) == "new"
        assert successor.offer(FrameKey("s", "a", 5), Message()) == "new"  # too long ago

    asyncio.run(scene())


def test_the_state_of_streams_survives_and_belongs_to_one_worker(tmp_path: Path) -> None:
    class Session:
        def checkpoint(self, path: Path) -> None:
            path.write_text("the map")

    saved = StreamState("../s", "a", 2, frames=7, newest=9, pending=[Pending(FrameKey("../s", "a", 9))])
    first = StateFolder(tmp_path)
    with pytest.raises(InputError, match="another worker"):
        StateFolder(tmp_path)
    first.begin(saved)
    assert first.checkpoint_of("../s") is None
    assert first.save(saved, Session())  # type: ignore[arg-type]
    first.close()
    (tmp_path / "stream-broken").mkdir()
    (tmp_path / "stream-broken" / "stream.json").write_text("{")
    second = StateFolder(tmp_path)
    assert second.streams() == [saved]
    assert second.checkpoint_of("../s").read_text() == "the map"  # type: ignore[union-attr]
    second.forget("../s")
    assert second.streams() == []
    second.close()


def test_prefetch_must_let_a_world_be_founded() -> None:
    IntakeSettings(prefetch=60).check_prefetch(LIVE)
    with pytest.raises(InputError, match=r"prefetch is 20, \d+ are needed"):
        IntakeSettings(prefetch=20).check_prefetch(LIVE)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("intake.batch=0", "batch must be greater than 0"),
        ("broker.backoff_limit_seconds=0.1", "backoff_limit_seconds must be at least 0.5"),
        ("broker.consume=[1]", r"partitions 0 to 0, got \[1\]"),
        ("mesh.voxel=0", "voxel must be greater than 0"),
        ("segments.drain_seconds=-1", "drain_seconds must be at least 0"),
        ("http.port=80900", "port must be at most 65535"),
        ("intake.policy=newest", "drop_oldest"),
    ],
)
def test_a_number_that_makes_no_sense_is_named_at_the_start(override: str, problem: str) -> None:
    config = compose_config("serve", [f"service.{override}"])
    with pytest.raises(ConfigurationError, match=problem):
        to_dataclass(config.service, ServiceSettings)


def test_frames_are_fused_as_often_as_the_camera_moves() -> None:
    gate, pose = MotionGate(0.1, 5.0, max_skipped=3), np.eye(4)
    assert [gate(pose) for _ in range(6)] == [True, False, False, False, True, False]
    pose[0, 3] = 0.2
    assert gate(pose)
    angle = np.radians(6)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert gate(pose)


def _world(segment: str = "a", part: int = 0) -> ClosedWorld:
    scene, trajectory = SceneMap(), TrajectoryRecorder()
    points = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    scene.add_points(points, np.full((50, 3), 100, np.uint8), np.full(50, 9.0, np.float32), 0)
    trajectory.add(1_500_000_000, np.eye(4))
    return ClosedWorld(WorldEnded("cam", segment, part, "segment", 1, scene), trajectory, None)


def test_names_of_segments_are_harmless_folders(tmp_path: Path) -> None:
    ended = _world("../../etc/passwd").ended
    assert choose_folder(tmp_path, ended).resolve().is_relative_to(tmp_path)
    folder = choose_folder(tmp_path, _world("a", 2).ended)
    assert folder == tmp_path / "cam" / "a.part2"
    folder.mkdir(parents=True)
    assert choose_folder(tmp_path, _world("a", 2).ended).name == "a.part2.2"  # never overwritten


def test_a_full_disk_leaves_nothing_behind_and_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    from slam3r.service import segments

    real, attempts = segments.write_tum, []

    def full(*arguments) -> None:
        attempts.append(arguments)
        if len(attempts) <= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(segments, "write_tum", full)

    async def scene() -> None:
        told: list[str | None] = []

        async def tell(world: ClosedWorld, error: str | None) -> None:
            told.append(error)
            assert (error is None) == (world.folder / "segment.json").exists()  # type: ignore[operator]
            assert error is None or not any((tmp_path / "cam").iterdir())

        settings = SegmentSettings(save=True, folder=str(tmp_path), retry_seconds=0.05)
        saver = SegmentSaver(settings, Metrics(), tell)
        task = asyncio.create_task(saver.run())
        saver.submit(_world())
        while len(told) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        assert [error is None for error in told] == [False, False, True]
        assert saver.last_error is None

    asyncio.run(scene())
    folder = tmp_path / "cam" / "a"
    assert len(read_ply(folder / "points.ply").points) > 10
    assert read_tum(folder / "trajectory.txt").timestamps.tolist() == [1.5]
    assert json.loads((folder / "segment.json").read_text())["ended_by"] == "segment"


def test_health_and_metrics() -> None:
    async def scene() -> None:
        metrics, health = Metrics(), Health(connected=True, stalled_seconds=0.0, save_error=None)
        metrics.received.inc(3)
        state = [health]
        async with (
            serve_http(HttpSettings(port=0), lambda: state[0], metrics) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        ):
            async with client.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "ok")
            for sick in (replace(health, connected=False), replace(health, stalled_seconds=100.0)):
                state[0] = sick
                async with client.get("/healthz") as answer:
                    assert answer.status == 503
            async with client.get("/metrics") as answer:
                text = await answer.text()
            assert "slam3r_frames_received_total 3.0" in text
            assert "slam3r_frame_latency_seconds_bucket" in text
            assert "slam3r_resident_memory_bytes" in text
            with pytest.raises(InputError, match="cannot listen"):
                async with serve_http(HttpSettings(port=port), lambda: health, Metrics()):
                    pass

    asyncio.run(scene())
