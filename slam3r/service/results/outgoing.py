"""From results of the networks to messages: what is published of a frame, and on which exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slam3r.live.updates import FrameUpdate
from slam3r.reconstruction import RegisteredFrame
from slam3r.service.settings import ExchangeNames
from slam3r.service.streams.events import FrameResult
from slam3r.service.wire.messages import KeyframeMessage, Message, PointsMessage, PoseMessage
from slam3r.service.wire.names import routing_word


@dataclass(frozen=True)
class Outgoing:
    """A message and where it goes."""

    exchange: str
    message: Message
    routing_key: str = ""


def outgoing(result: FrameResult, names: ExchangeNames, threshold: float, max_points: int) -> list[Outgoing]:
    """Make all messages of a frame: a pose always, points if it is trusted, the whole frame if it is a keyframe.

    Args:
        result: of `Streams`.
        names: of the exchanges.
        threshold: points of strictly higher confidence are published.
        max_points: of these, a choice of at most so many, the same for the same frame.
    """
    key, update = result.key, result.update
    about: dict[str, Any] = {**vars(key), "part": result.part}
    messages = [Outgoing(names.pose, _pose(result, about))]
    frame = None if update is None else update.frame
    if update is None or frame is None or not update.trusted:
        return messages
    points, colors, confidence = frame.confident_points(threshold)
    if len(points) > max_points:
        seed = np.random.default_rng(key.timestamp_ns & (2**63 - 1))
        chosen = np.sort(seed.choice(len(points), max_points, replace=False))
        points, colors, confidence = points[chosen], colors[chosen], confidence[chosen]
    cloud = PointsMessage(**about, frame_index=frame.index, points=points, colors=colors, confidence=confidence)
    messages += [Outgoing(names.points, cloud), Outgoing(names.visualization, cloud)]
    if frame.keyframe:
        messages.append(Outgoing(names.keyframe, _keyframe(frame, about), f"keyframe.{routing_word(key.stream_id)}"))
    return messages


def depth_and_color(frame: RegisteredFrame, threshold: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
    """Return depth (H, W) along the axis, 0 where it is not confident, and colour (H, W, 3); None without a pose."""
    depth = frame.depth()
    if depth is None:
        return None
    return torch.where(frame.world_confidence > threshold, depth, 0.0).numpy(), frame.colors.numpy()


def _pose(result: FrameResult, about: dict) -> PoseMessage:
    update = result.update
    frame = None if update is None else update.frame
    size = (0, 0) if update is None else update.original_size
    common = {**about, "image_size": np.array(size, np.int32)}
    if update is None or frame is None:
        why = "the reconstruction failed" if update is None else update.reason
        return PoseMessage(
            **common,
            frame_index=-1,
            status="unregistered",
            reason=why,
            state="lost" if update is None else update.state.value,
            keyframe=False,
            confidence=0.0,
            pose_inliers=0.0,
        )
    pose, intrinsics = frame.camera_to_world, update.intrinsics
    return PoseMessage(
        **common,
        frame_index=frame.index,
        status=frame.status,
        state=update.state.value,
        keyframe=frame.keyframe,
        confidence=float(frame.mean_confidence),
        pose_inliers=float(frame.pose_inliers),
        camera_to_world=None if pose is None else pose.double().numpy(),
        intrinsics=None if intrinsics is None else intrinsics.double().numpy(),
    )


def _keyframe(frame: RegisteredFrame, about: dict) -> KeyframeMessage:
    pose = frame.camera_to_world
    return KeyframeMessage(
        **about,
        frame_index=frame.index,
        image=frame.colors.numpy(),
        points=frame.world_points.float().numpy(),
        confidence=frame.world_confidence.float().numpy(),
        network_intrinsics=frame.intrinsics.double().numpy(),
        camera_to_world=None if pose is None else pose.double().numpy(),
    )


def registered_frame(update: FrameUpdate | None) -> RegisteredFrame | None:
    """Return the frame of an answer if it may go into trajectories and meshes."""
    return update.frame if update is not None and update.trusted else None
