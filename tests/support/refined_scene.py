"""A filmed room as a reconstruction leaves it: registered frames, what refinement needs of them, and the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import Preprocessed
from common.geometry.cameras import unproject_to_world
from common.meters import MemoryPeak
from slam3r.reconstruction import ReconstructionSettings
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.known.input import KnownFrame
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame
from slam3r.scene.sinks import FrameRecorder, PointStore
from tests.support.filmed_room import FilmedRoom


def registered_frame(room: FilmedRoom, index: int) -> RegisteredFrame:
    """A frame with the room's prediction."""
    predicted = room.prediction
    picture = room.pictures[index]
    network = torch.nn.functional.interpolate(picture.image[None].float(), predicted.depth.shape[1:], mode="area")[0]
    pose, valid = predicted.camera_to_world[index], predicted.valid[index]
    points = unproject_to_world(predicted.depth[index], predicted.intrinsics, pose)
    return RegisteredFrame(
        index=index,
        name=picture.name,
        timestamp=index / 10,
        image=network / 127.5 - 1,
        world_points=torch.where(valid[..., None], points, 0.0),
        world_confidence=predicted.confidence[index],
        valid=valid,
        local_points=None,
        local_confidence=predicted.confidence[index],
        mean_confidence=10.0,
        local_mean_confidence=10.0,
        keyframe=True,
        status="registered",
        camera_to_world=pose,
        intrinsics=predicted.intrinsics,
        pose_inliers=1.0,
    )


def gather(room: FilmedRoom, held: RefinementInput, known: Sequence[KnownFrame] | None = None) -> None:
    """Feed a film, and what is known of its frames, to the sink of a run."""
    for index, picture in enumerate(room.pictures):
        original_from_network = torch.linalg.inv(picture.network_from_working)
        prepared = Preprocessed(torch.empty(0), original_from_network, picture.original_size)
        held.keep(
            Frame(picture.image.permute(1, 2, 0).numpy(), index, index / 10, picture.name),
            prepared,
            None if known is None else known[index],
        )
        held.add(registered_frame(room, index))


def reconstructed(room: FilmedRoom) -> Scene:
    """The scene as it was reconstructed, points above a confidence of 2."""
    store, recorder = PointStore(2.0), FrameRecorder()
    for index in range(len(room.pictures)):
        for sink in (store, recorder):
            sink.add(registered_frame(room, index))
    intrinsics = room.prediction.intrinsics.double().numpy()
    frames = [
        SceneFrame(
            **vars(frame), number=frame.index, original_size=picture.original_size, intrinsics=2 * intrinsics, file=None
        )
        for frame, picture in zip(recorder.frames, room.pictures)
    ]
    height, width = room.prediction.depth.shape[1:]
    return Scene(
        points=store.points,
        colors=store.colors,
        confidence=store.confidence,
        frames=frames,
        network_intrinsics=np.asarray(intrinsics),
        network_size=(int(height), int(width)),
        stride=1,
        initial_window=(0, 1, 2),
        initial_reference=1,
        settings=ReconstructionSettings(),
        threshold=2.0,
        num_confident=store.num_seen,
        highest_confidence=float(store.highest_confidence),
        seconds={},
        total_seconds=1.0,
        peak_memory=MemoryPeak(0, 0),
        model={},
    )
