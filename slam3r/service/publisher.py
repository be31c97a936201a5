"""The last stage: encode, publish, wait for the broker's confirmation, and only then acknowledge."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from slam3r.service.broker import Broker
from slam3r.service.ledger import Ledger
from slam3r.service.mesher import Mesh, Mesher
from slam3r.service.metrics import Metrics
from slam3r.service.results import Outgoing, depth_and_color, outgoing, registered_frame
from slam3r.service.segments import ClosedWorld, SegmentSaver, TrajectoryRecorder
from slam3r.service.settings import ServiceSettings
from slam3r.service.streams import FrameDropped, FrameResult, Result, WorldEnded
from slam3r.service.wire.messages import BoundaryMessage, MeshMessage, SavedMessage

logger = logging.getLogger(__name__)

_TOGETHER = 16

Encoded = tuple[Outgoing, bytes, str | None]


@dataclass
class _World:
    """What is gathered of a world while it lasts."""

    trajectory: TrajectoryRecorder
    mesher: Mesher | None = None


class ResultPublisher:
    """Takes results in order. Frames are confirmed in groups; a world's end is told after all of its frames."""

    def __init__(
        self, settings: ServiceSettings, threshold: float, broker: Broker, ledger: Ledger, metrics: Metrics
    ) -> None:
        """
        Args:
            settings: of the service.
            threshold: confidence above which points are published and fused.
            broker: where to.
            ledger: is told what is done.
            metrics: counts.
        """
        self._settings, self._threshold = settings, threshold
        self._broker, self._ledger, self._metrics = broker, ledger, metrics
        self._encoding = ThreadPoolExecutor(1, "encode")
        self._worlds: dict[tuple[str, str, int], _World] = {}
        self._mesh_task: dict[str, asyncio.Task] = {}
        self._loop = asyncio.get_running_loop()
        self.saver = SegmentSaver(settings.segments, metrics, self._tell_saved)

    async def run(self, results: asyncio.Queue[Result]) -> None:
        """Publish what comes. Ends by being cancelled."""
        while True:
            group = [await results.get()]
            while len(group) < _TOGETHER and not results.empty():
                group.append(results.get_nowait())
            await self._publish_group(group)
            for _ in group:
                results.task_done()

    def close(self) -> None:
        """End what runs beside: threads and mesh processes."""
        for world in self._worlds.values():
            if world.mesher is not None:
                world.mesher.close()
        self._encoding.shutdown(wait=False)

    async def _publish_group(self, group: Sequence[Result]) -> None:
        start = 0
        for end, result in enumerate(group):
            if isinstance(result, WorldEnded):
                await self._publish_frames(group[start:end])
                await self._end_world(result)
                start = end + 1
        await self._publish_frames(group[start:])

    async def _publish_frames(self, group: Sequence[Result]) -> None:
        # A restored session may finish frames again whose results the worker before has published.
        done = [result for result in group if isinstance(result, FrameResult)]
        frames = [result for result in done if not self._ledger.is_done(result.key)]
        if frames:
            encoded = await self._loop.run_in_executor(self._encoding, self._encode, frames)
            await asyncio.gather(*(self._send(item) for item in encoded))
        self._metrics.published.inc(len(frames))
        for result in done:
            await self._ledger.complete(result.key)
            if result.received is not None:
                self._metrics.latency.observe(time.monotonic() - result.received)
        for left_out in group:
            if isinstance(left_out, FrameDropped):
                self._metrics.dropped.labels(left_out.reason).inc()
                await self._ledger.complete(left_out.key, remember=False)

    def _encode(self, frames: Sequence[FrameResult]) -> list[Encoded]:
        """In a thread. Meshes and trajectories are fed here too, off the way of the networks."""
        encoded: list[Encoded] = []
        for result in frames:
            for item in outgoing(
                result, self._settings.broker.exchanges, self._threshold, self._settings.segments.points_per_frame
            ):
                encoded.append((item, *item.message.encode(self._settings.broker.compress)))
            try:
                self._gather(result)
            except Exception:  # a mesh that fails must not stop the stream
                logger.exception("the frame %d is not in the mesh", result.key.timestamp_ns)
        return encoded

    def _gather(self, result: FrameResult) -> None:
        frame, key = registered_frame(result.update), result.key
        if frame is None or frame.camera_to_world is None:
            return
        name = (key.stream_id, key.segment, result.part)
        world = self._worlds.setdefault(name, _World(TrajectoryRecorder()))
        pose = frame.camera_to_world.double().numpy()
        world.trajectory.add(key.timestamp_ns, pose)
        if not self._settings.mesh.enabled:
            return
        if world.mesher is None:
            size = (frame.image.shape[1], frame.image.shape[2])
            world.mesher = Mesher(self._settings.mesh, size, self._metrics, lambda mesh: self._on_mesh(name, mesh))
        seen = depth_and_color(frame, self._threshold)
        if seen is not None and np.isfinite(pose).all():
            world.mesher.add(key.timestamp_ns, *seen, pose, frame.intrinsics.double().numpy())

    async def _send(self, item: Encoded) -> None:
        where, body, encoding = item
        message = where.message
        await self._broker.publish(
            where.exchange,
            body,
            where.routing_key,
            content_encoding=encoding,
            message_id=message.message_id,
            type=message.TYPE,
            headers={"stream_id": message.stream_id},
        )

    async def _end_world(self, ended: WorldEnded) -> None:
        self._metrics.segments.labels(ended.reason).inc()
        boundary = BoundaryMessage(
            stream_id=ended.stream_id,
            segment=ended.segment,
            part=ended.part,
            reason=ended.reason,
            frames=ended.frames,
        )
        await self._show(boundary)
        world = self._worlds.pop((ended.stream_id, ended.segment, ended.part), _World(TrajectoryRecorder()))
        self.saver.submit(ClosedWorld(ended, world.trajectory, world.mesher))

    async def _show(self, message: BoundaryMessage | MeshMessage | SavedMessage) -> None:
        place = Outgoing(self._settings.broker.exchanges.visualization, message)
        await self._send((place, *message.encode(self._settings.broker.compress)))

    async def _tell_saved(self, world: ClosedWorld, error: str | None) -> None:
        ended = world.ended
        about: dict[str, Any] = {"stream_id": ended.stream_id, "segment": ended.segment, "part": ended.part}
        if world.mesh is not None and error is None:
            await self._show(MeshMessage(**about, **vars(world.mesh), final=True))
        if world.folder is not None:
            await self._show(SavedMessage(**about, folder=str(world.folder), error=error))

    def _on_mesh(self, name: tuple[str, str, int], mesh: Mesh) -> None:
        """In the mesher's thread."""
        message = MeshMessage(stream_id=name[0], segment=name[1], part=name[2], **vars(mesh))
        self._loop.call_soon_threadsafe(self._show_mesh, message)

    def _show_mesh(self, message: MeshMessage) -> None:
        """Publish unless the one before is still on its way: the next one will hold all that this one does."""
        before = self._mesh_task.get(message.stream_id)
        if before is None or before.done():
            self._mesh_task[message.stream_id] = self._loop.create_task(self._show(message))
