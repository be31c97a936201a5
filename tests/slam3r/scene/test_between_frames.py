"""Runs in which keyframes alone have pointmaps: files for all frames, and poses that follow a refinement."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
import torch

import slam3r
from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import Preprocessed, denormalize, preprocess
from common.export.trajectory import read_tum
from common.known.settings import KnownSettings
from common.refinement.outcome import Refinement, Verdict
from common.refinement.types import Camera, CameraEvidence, RefinedCameras, RefinedDepth, Tracks
from common.rooms import room_seed, room_video
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.placement.tracks import TrackedPicture
from slam3r.scene.between.between_frames import BetweenFrames
from slam3r.scene.known.input import KnownFrame
from slam3r.scene.recording import open_pointmaps, read_run
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene import Scene
from tests.support.filmed_room import FilmedRoom, film, path_error
from tests.support.refined_scene import reconstructed, registered_frame
from tests.support.tiny_scene import registered_frames

COUNT = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Path]:
    """A slow film of a room, reconstructed by the small networks."""
    folder = tmp_path_factory.mktemp("between")
    images = room_video(room_seed("held_out", 0, 5), COUNT, (112, 112), step=0.02, turn=1.5).images
    (folder / "film").mkdir()
    for index, image in enumerate(denormalize(images).numpy()):
        assert cv2.imwrite(str(folder / "film" / f"{index:02d}.png"), image[..., ::-1])
    scene = slam3r.reconstruct(
        folder / "film",
        "slam3r_tiny",
        folder / "out",
        settings={"between": {"motion": 0.05}, "keyframe_stride": 1, "window_radius": 1, "rigid_neighbours": 0},
        export={"colmap": True},
        refinement="off",
        save_predictions=True,
        device="cpu",
        dtype="float32",
        size=(112, 112),
        progress=False,
    )
    return scene, folder / "out"


def test_every_frame_has_a_pose_in_every_file_of_cameras(run: tuple[Scene, Path]) -> None:
    scene, folder = run
    assert len(scene.frames) == COUNT and len(scene.posed) == COUNT
    assert len(read_tum(folder / "trajectory.txt").camera_to_world) == COUNT
    assert len(json.loads((folder / "transforms.json").read_text())["frames"]) == COUNT
    assert len(pycolmap.Reconstruction(folder / "sparse/0").images) == COUNT


def test_the_summary_tells_keyframes_from_the_others(run: tuple[Scene, Path]) -> None:
    scene, folder = run
    mapped = len(scene.mapped)
    assert 4 <= mapped < COUNT and scene.sentence() == f"{mapped} of {COUNT} frames are keyframes"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["frames"], summary["frames_with_pointmap"]) == (COUNT, mapped)
    alone = [row for row in summary["per_frame"] if row["status"] in ("placed", "interpolated")]
    assert len(alone) == COUNT - mapped
    assert summary["settings"]["between"]["motion"] == 0.05


def test_points_are_those_of_keyframes_and_a_replay_shows_all_frames(run: tuple[Scene, Path]) -> None:
    scene, folder = run
    with_points = [frame for frame, valid in enumerate(open_pointmaps(folder / "predictions").valid) if valid.any()]
    assert with_points == [frame.index for frame in scene.mapped]
    recorded = read_run(folder)
    assert len(recorded.names) == COUNT and np.isfinite(recorded.camera_to_world).all()
    assert set(np.unique(recorded.frame)) <= set(with_points)


def test_the_check_of_a_run_looks_at_neighbouring_keyframes(run: tuple[Scene, Path]) -> None:
    scene, _ = run
    assert scene.verdict.frames_checked == len(scene.mapped)


def test_a_sample_of_keyframes_is_spread_over_them() -> None:
    """Every third of 60 frames has a pointmap: groups of neighbours among these stay."""
    held = RefinementInput(1024, most=6, sparse=True)
    image, word = np.zeros((48, 64, 3), np.uint8), registered_frames(6)[0]
    for index in range(60):
        held.keep(Frame(image, index, index / 30, str(index)), preprocess(image, (48, 64)))
        held.add(replace(word, index=index, status="registered" if index % 3 == 0 else "placed"))
    assert held.frames == [0, 3, 9, 48, 51, 57] and not held.complete


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    return film(7)


def keyframe(index: int) -> bool:
    return index % 2 == 0 or index == 11


def sightings(room: FilmedRoom, index: int) -> tuple[Sighting, Sighting]:
    """Corners of the keyframes on either side."""
    before, here, after = (
        TrackedPicture.from_image(registered_frame(room, near).image) for near in (index - 1, index, index + 1)
    )
    return Sighting.of(index - 1, before, here), Sighting.of(index + 1, after, here)


def perfect(room: FilmedRoom, frames: list[int]) -> Refinement:
    """A refinement of some frames that found the truth."""
    camera = Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))
    poses, depth = room.camera_to_world[frames].float(), room.depth[frames][:, 1::2, 1::2]
    cameras = RefinedCameras(
        [camera], poses, torch.ones(len(frames), dtype=torch.bool), poses, *torch.ones(2, len(frames)), Tracks.empty(),
        CameraEvidence(),
    )  # fmt: skip
    many = torch.full(depth.shape, 3, dtype=torch.uint8)
    verdict = Verdict(applied="dense", agrees=True)
    return Refinement(
        verdict, [room.pictures[frame] for frame in frames], cameras, RefinedDepth(depth, many, many, depth > 0)
    )


def follow(room: FilmedRoom, known: dict[int, KnownFrame], trust: KnownSettings) -> tuple[Scene, Scene]:
    """A scene before and after its keyframes were moved to the truth, and the other frames after them."""
    keyframes = [index for index in range(12) if keyframe(index)]
    between = BetweenFrames(lambda index: torch.linalg.inv(room.pictures[index].network_from_working))
    held = RefinementInput(1024, sparse=True)
    for index, picture in enumerate(room.pictures):
        frame = registered_frame(room, index)
        if not keyframe(index):
            frame = replace(frame, status="placed", sightings=sightings(room, index))
        prepared = Preprocessed(torch.empty(0), torch.linalg.inv(picture.network_from_working), picture.original_size)
        pixels = picture.image.permute(1, 2, 0).numpy()
        held.keep(Frame(pixels, index, index / 10, picture.name), prepared, known.get(index))
        for sink in (between, held):
            sink.add(frame)
    scene = reconstructed(room)
    intrinsics = np.array([[room.focal, 0, 159.5], [0, room.focal, 119.5], [0, 0, 1]])
    scene.frames = [
        replace(frame, camera_to_world=room.camera_to_world[frame.index].numpy(), intrinsics=intrinsics)
        if keyframe(frame.index)
        else replace(frame, status="placed")
        for frame in scene.frames
    ]
    before = replace(scene, frames=list(scene.frames))
    between.place_again(scene, perfect(room, keyframes), held, trust)
    return before, scene


def test_frames_between_follow_refined_keyframes(room: FilmedRoom) -> None:
    """Their poses come near the truth, and their cameras are the refined one."""
    before, scene = follow(room, {}, KnownSettings())
    error = path_error(torch.from_numpy(before.camera_to_world), room.camera_to_world)
    assert path_error(torch.from_numpy(scene.camera_to_world), room.camera_to_world) < 0.01 < error / 3
    for frame in scene.frames:
        assert frame.intrinsics[0, 0] == room.focal
        assert frame.status == ("registered" if keyframe(frame.index) else "placed")


def test_known_poses_of_frames_between_are_kept_where_they_are_fixed(room: FilmedRoom) -> None:
    known = {index: KnownFrame(camera_to_world=room.camera_to_world[index].numpy()) for index in range(12)}
    for trust, exact in (("fixed", True), ("prior", False)):
        _, scene = follow(room, known, KnownSettings(poses=trust))
        found = scene.frames[5].camera_to_world
        assert found is not None and np.array_equal(found, room.camera_to_world[5].numpy()) == exact


def test_frames_stay_where_nothing_was_refined(room: FilmedRoom) -> None:
    between, scene = BetweenFrames(lambda index: torch.eye(3)), reconstructed(room)
    between.add(replace(registered_frame(room, 1), status="placed", sightings=sightings(room, 1)))
    expected = scene.camera_to_world
    between.place_again(scene, Refinement(Verdict(), room.pictures), RefinementInput(1024), KnownSettings())
    np.testing.assert_array_equal(scene.camera_to_world, expected)
