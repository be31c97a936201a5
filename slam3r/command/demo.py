"""Command ``demo``: film a held-out room, reconstruct it, and compare it with the truth; or reconstruct photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import slam3r
from common.data.sources.preprocess import denormalize
from common.export.result_folder import write_image
from common.rooms import room_seed, room_video
from common.views import Views
from slam3r.command.settings import DemoCommand
from slam3r.evaluation.scene_score import score_scene
from slam3r.scene.outputs import PREDICTIONS
from slam3r.scene.recording import open_pointmaps


def film(chosen: DemoCommand, folder: Path) -> Views:
    """Render the room's video and write its frames as pictures, as a camera would."""
    views = room_video(room_seed("held_out", 0, chosen.room), chosen.frames, 224)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, image in enumerate(views.images):
        write_image(folder / f"frame_{number:04d}.png", denormalize(image).numpy())
    return views


def compare(scene: slam3r.Scene, output: Path, truth: Views) -> None:
    """Print the distance of the reconstruction from the truth."""
    recorded = open_pointmaps(output / PREDICTIONS)
    score = score_scene(
        recorded.points,
        recorded.confidence,
        [frame.camera_to_world for frame in scene.frames],
        truth,
        scene.threshold,
    )
    ours, constant = score.points, score.constant
    for name, value, reference in (
        ("accuracy", ours.accuracy, constant.accuracy),
        ("completeness", ours.completeness, constant.completeness),
    ):
        print(f"{name:12} {value * 100:6.1f} cm   (best constant pointmap {reference * 100:.1f} cm)")
    count = f"{score.num_poses} of {score.num_frames} frames"
    print(f"{'trajectory':12} {score.trajectory_rmse * 100:6.1f} cm   ATE RMSE over {count}")


def demo(chosen: DemoCommand) -> None:
    """Film, reconstruct, compare."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    output = Path(chosen.output)
    frames = output.with_name(output.name + "_frames")
    truth = None if chosen.photos else film(chosen, frames)
    scene = slam3r.reconstruct(
        chosen.photos or frames,
        chosen.model,
        output,
        settings=chosen.reconstruction,
        export=chosen.export,
        refinement=chosen.refinement,
        save_predictions=truth is not None,
        overwrite=True,
    )
    print(f"{scene.sentence()}, {scene.frames_per_second:.1f} frames per second")
    print(scene.verdict.sentence())
    if truth is not None:
        compare(scene, output, truth)
    print(f"look at      {output / 'preview.png'} and {output / 'frames.png'}; open {output / 'points.ply'}")
