"""The last stage: encode, publish, wait for the broker's confirmation, and only then acknowledge."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slam3r.live.refining.segment_refiner import SegmentRefiner
from slam3r.service.broker.connection import Broker
from slam3r.service.broker.errors import PublishRefused
from slam3r.service.intake.acknowledge import acknowledge
from slam3r.service.intake.ledger import Ledger
from slam3r.service.mesh.files import TimedMesh
from slam3r.service.mesh.pool import MeshPool, WorldMesh
from slam3r.service.metrics import Metrics
from slam3r.service.results.outgoing import Outgoing, depth_and_color, outgoing, registered_frame
from slam3r.service.segments.files import SegmentFolders
from slam3r.service.segments.refinements import RefinedSegment, SegmentRefinements
from slam3r.service.segments.saver import ClosedWorld, SegmentSaver
from slam3r.service.segments.trajectory import TrajectoryRecorder
from slam3r.service.settings import ServiceSettings
from slam3r.service.state.database import StateDatabase
from slam3r.service.streams.events import FrameDropped, FrameResult, Result, WorldEnded
from slam3r.service.wire.messages import BoundaryMessage, MeshMessage, Message, RefinedMessage, SavedMessage

logger = logging.getLogger(__name__)

_TOGETHER = 16
_Name = tuple[str, str, int]


@dataclass
class _World:
    """Data gathered about a world while it lasts."""

    trajectory: TrajectoryRecorder = field(default_factory=TrajectoryRecorder)
    mesh: WorldMesh | None = None


@dataclass(frozen=True)
class _Encoded:
    """A message as bytes."""

    where: Outgoing
    body: bytes
    encoding: str | None


class ResultPublisher:
    """Takes results in order. Frames are confirmed in groups; a world's end is told after all of its frames."""

    def __init__(
        self,
        settings: ServiceSettings,
        threshold: float,
        broker: Broker,
        ledger: Ledger,
        state: StateDatabase,
        meshes: MeshPool | None,
        folders: SegmentFolders,
        metrics: Metrics,
        refiner: SegmentRefiner | None = None,
    ) -> None:
        """
        Args:
            settings: of the service.
            threshold: confidence above which points are published and fused.
            broker: where to.
            ledger: is told what is done.
            state: is told which ends of worlds are told.
            meshes: mesh processes; None for no meshes.
            folders: for closed worlds.
            metrics: counts.
            refiner: of closed worlds; None for no refinement.
        """
        self._settings, self._threshold = settings, threshold
        self._broker, self._ledger, self._state, self._metrics = broker, ledger, state, metrics
        self._meshes = meshes
        self._encoding = ThreadPoolExecutor(1, "encode")
        self._worlds: dict[_Name, _World] = {}
        self._mesh_task: dict[str, asyncio.Task] = {}
        self._loop = asyncio.get_running_loop()
        refinements = SegmentRefinements(folders.staging, refiner, self._tell_refined)
        self.saver = SegmentSaver(settings.segments, folders, metrics, self._tell_mesh, self._tell_saved, refinements)

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
        """End what runs beside. Does not wait."""
        self.saver.close()
        for task in self._mesh_task.values():
            task.cancel()
        self._encoding.shutdown(wait=False, cancel_futures=True)

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
        await acknowledge(self._ledger.complete([result.key for result in done]))
        for result in done:
            if result.received is not None:
                self._metrics.latency.observe(time.monotonic() - result.received)
        for left_out in group:
            if isinstance(left_out, FrameDropped):
                self._metrics.dropped.labels(left_out.reason).inc()
                await acknowledge(self._ledger.drop(left_out.key))

    def _encode(self, frames: Sequence[FrameResult]) -> list[_Encoded]:
        """In a thread. Meshes and trajectories are fed here too, off the way of the networks."""
        encoded: list[_Encoded] = []
        for result in frames:
            try:
                encoded += self._encode_frame(result)
                self._remember(result)
            except Exception:  # a result that cannot be sent would come back for ever; it is counted instead
                logger.exception("the result of frame %d cannot be encoded; it is left out", result.key.timestamp_ns)
                self._metrics.unpublished.inc()
        return encoded

    def _encode_frame(self, result: FrameResult) -> list[_Encoded]:
        broker = self._settings.broker
        messages = outgoing(result, broker.exchanges, self._threshold, self._settings.segments.points_per_frame)
        bodies: dict[int, tuple[bytes, str | None]] = {}
        for item in messages:  # the same message may go to several exchanges
            if id(item.message) not in bodies:
                bodies[id(item.message)] = item.message.encode(broker.compress)
        return [_Encoded(item, *bodies[id(item.message)]) for item in messages]

    def _remember(self, result: FrameResult) -> None:
        frame, key = registered_frame(result.update), result.key
        if frame is None or frame.camera_to_world is None:
            return
        name = (key.stream_id, key.segment, result.part)
        world = self._worlds.setdefault(name, _World())
        pose = frame.camera_to_world.double().numpy()
        world.trajectory.add(key.timestamp_ns, pose)
        if self._meshes is None:
            return
        if world.mesh is None:
            world.mesh = self._meshes.open(lambda mesh: self._on_mesh(name, mesh))
        seen = depth_and_color(frame, self._threshold)
        if seen is not None and np.isfinite(pose).all():
            world.mesh.add(key.timestamp_ns, *seen, pose, frame.intrinsics.double().numpy())

    async def _send(self, item: _Encoded) -> None:
        message = item.where.message
        try:
            await self._broker.publish(
                item.where.exchange,
                item.body,
                item.where.routing_key,
                content_encoding=item.encoding,
                message_id=message.message_id,
                type=message.TYPE,
                headers={"stream_id": message.stream_id},
            )
        except PublishRefused as error:
            logger.error("a message of type %s is left out: %s", message.TYPE, error)
            self._metrics.unpublished.inc()

    async def _end_world(self, ended: WorldEnded) -> None:
        name = (ended.stream_id, ended.segment, ended.part)
        self._metrics.segments.labels(ended.reason).inc()
        await self._show(BoundaryMessage(**_about(ended), reason=ended.reason, frames=ended.frames))
        self._state.forget_world(*name)
        world = self._worlds.pop(name, _World())
        await self.saver.submit(ClosedWorld(ended, world.trajectory, world.mesh))

    async def _show(self, message: Message) -> None:
        place = Outgoing(self._settings.broker.exchanges.visualization, message)
        body, encoding = await self._loop.run_in_executor(
            self._encoding, message.encode, self._settings.broker.compress
        )
        await self._send(_Encoded(place, body, encoding))

    async def _tell_mesh(self, ended: WorldEnded, mesh: TimedMesh) -> None:
        await self._show(MeshMessage(**_about(ended), **vars(mesh), final=True))

    async def _tell_saved(self, ended: WorldEnded, folder: str, error: str | None) -> None:
        await self._show(SavedMessage(**_about(ended), folder=folder[:4096], error=error))

    async def _tell_refined(self, refined: RefinedSegment) -> None:
        await self._show(RefinedMessage(**{**vars(refined), "folder": refined.folder[:4096]}))

    def _on_mesh(self, name: _Name, mesh: TimedMesh) -> None:
        """In a thread of the meshes."""
        message = MeshMessage(stream_id=name[0], segment=name[1], part=name[2], **vars(mesh))
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._show_mesh, message)

    def _show_mesh(self, message: MeshMessage) -> None:
        """Publish unless the one before is still on its way: the next one will hold all that this one does."""
        before = self._mesh_task.get(message.stream_id)
        if before is None or before.done():
            task = self._mesh_task[message.stream_id] = self._loop.create_task(self._show(message))
            task.add_done_callback(lambda done: self._forget_mesh_task(message.stream_id, done))

    def _forget_mesh_task(self, stream_id: str, task: asyncio.Task) -> None:
        if self._mesh_task.get(stream_id) is task:
            del self._mesh_task[stream_id]
        if not task.cancelled() and task.exception() is not None:
            logger.error("a mesh was not published", exc_info=task.exception())


def _about(ended: WorldEnded) -> dict[str, Any]:
    return {"stream_id": ended.stream_id, "segment": ended.segment, "part": ended.part}
