"""Assembly of the registered frames that the reconstructor returns."""

from __future__ import annotations

from slam3r.reconstruction.events import Initialized
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.poses import PoseSolver


def finish_frame(
    index: int, store: FrameStore, founding: Initialized, poses: PoseSolver, keyframe: bool, weak_confidence: float
) -> RegisteredFrame:
    """Solve a registered frame's pose, and collect the frame's results on the CPU.

    Args:
        index: index of the frame.
        store: holds its image, its local and its world pointmap.
        founding: the initial window.
        poses: pose solver with known or estimated intrinsics.
        keyframe: whether the frame is a keyframe.
        weak_confidence: mean registered confidence below which it is reported as weak.
    """
    assert poses.intrinsics is not None, "intrinsics are estimated with the head frames"
    source, world, local = store.inputs[index], store.world[index], store.local[index]
    is_founding = index in founding.frames
    own_camera = not is_founding or index == founding.frames[founding.reference]
    pose = poses.solve(world, None if is_founding else local)
    return RegisteredFrame(
        index=index,
        name=source.name,
        timestamp=source.timestamp,
        image=source.image,
        world_points=world.points.cpu(),
        world_confidence=world.confidence.cpu(),
        valid=world.valid.cpu(),
        local_points=local.raw_points.cpu() if own_camera else None,
        local_confidence=local.confidence.cpu(),
        mean_confidence=world.mean_confidence,
        local_mean_confidence=local.mean_confidence,
        keyframe=keyframe,
        status="registered" if world.mean_confidence >= weak_confidence else "low_confidence",
        camera_to_world=pose.camera_to_world,
        intrinsics=poses.intrinsics,
        pose_inliers=pose.inliers,
    )
