"""Replica (Straub et al., 2019) as rendered for iMAP and NICE-SLAM, to the processed layout.

    python -m data_process.replica raw=DIR output=DIR [key=value ...]

Depth is stored at 6553.5 units per metre, as in the release, so that no precision is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.command.launch import launch
from common.data.scenes.replica_files import TRAJECTORY, ReplicaCamera, read_camera, read_trajectory
from data_process.formats.frame_files import metres, read_color, read_plane
from data_process.writing.command import process_verb, run
from data_process.writing.runner import StridedSettings
from data_process.writing.scene_writer import SceneWriter


class ReplicaSettings(StridedSettings):
    """Settings of configs/process/replica.yaml."""


@dataclass(frozen=True)
class ReplicaScene:
    """A room: a folder with traj.txt and results/, and the camera of all rooms."""

    name: str
    folder: Path
    camera: ReplicaCamera


def find_scenes(settings: ReplicaSettings) -> list[ReplicaScene]:
    """All rooms below the raw folder, with the camera of cam_params.json.

    Raises:
        DataError: cam_params.json is missing or incomplete.
    """
    raw = settings.raw_folder()
    camera = read_camera(raw)
    folders = [trajectory.parent for trajectory in sorted(raw.glob(f"*/{TRAJECTORY}"))]
    return [ReplicaScene(folder.name, folder, camera) for folder in folders]


def convert(scene: ReplicaScene, writer: SceneWriter, settings: ReplicaSettings) -> None:
    """Add the frames of a room. Line k of traj.txt is the camera-to-world pose of frame k, OpenCV axes."""
    scale = writer.depth_scale = scene.camera.depth_scale
    writer.attributes |= {"number_step": settings.every}
    poses = read_trajectory(scene.folder)
    results = scene.folder / "results"
    images = {int(path.stem[5:]): path for path in results.glob("frame*.*") if path.stem[5:].isdecimal()}
    for number in sorted({*range(len(poses)), *images}):  # as many as there are, whatever number a file may have
        if number % settings.every:
            continue
        with writer.dropping(number):
            if number >= len(poses):
                writer.drop(number, "no pose")
                continue
            image = read_color(images.get(number, results / f"frame{number:06d}.jpg"))
            depth = metres(read_plane(results / f"depth{number:06d}.png", "depth image"), scale)
            writer.add(number, image, depth, poses[number], scene.camera.intrinsics)


def process(settings: ReplicaSettings) -> None:
    """Convert the raw data, or verify the output."""
    run("replica", "Replica Dataset research terms (non-commercial)", find_scenes, convert, settings)


VERB = process_verb(
    "replica",
    ReplicaSettings,
    process,
    "Replica (iMAP and NICE-SLAM renders) to the processed layout. raw holds cam_params.json and "
    "<room>/{traj.txt,results/frame000000.jpg,results/depth000000.png}.",
)

if __name__ == "__main__":
    launch(VERB)
