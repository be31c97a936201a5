"""The commands of SLAM3R. Describing them loads no torch."""

from __future__ import annotations

import common.command.settings as shared
from common.command.verb import Verb
from slam3r.command.settings import DemoCommand, ReconstructCommand, ReplayCommand, register_settings
from slam3r.profiling.settings import ProfileSettings
from slam3r.service.settings import ServeConfiguration


def register() -> None:
    """Make the defaults of all commands of SLAM3R known to Hydra."""
    register_settings()
    shared.register_settings()


RECONSTRUCT = Verb(
    name="slam3r reconstruct",
    config="reconstruct",
    settings=ReconstructCommand,
    run="slam3r.command.reconstruct.reconstruct",
    register=register,
    summary="Photographs taken in order, or a video, to a coloured point cloud with a camera pose per frame. "
    "slam3r/scene/outputs.py says what is written.",
    examples=(
        "python scripts/reconstruct.py source=folder source.path=photos output=out",
        "python scripts/reconstruct.py source=video source.path=tour.mp4 source.fps=5 export.colmap=true output=out",
        "python scripts/reconstruct.py source=folder source.path=photos model=slam3r_large output=out",
    ),
)
LIVE = Verb(
    name="slam3r live",
    config="reconstruct",
    settings=ReconstructCommand,
    run="slam3r.command.reconstruct.reconstruct",
    register=register,
    summary="A camera, a stream or a video while it goes on: poses and points with every frame, a folder per segment "
    "of the stream, and a viewer where rerun is installed. Ctrl-C ends it and keeps everything.",
    examples=("python scripts/reconstruct.py source=camera live=true output=out",),
    fixed=("live=true",),
)
SERVE = Verb(
    name="slam3r serve",
    config="serve",
    settings=ServeConfiguration,
    run="slam3r.command.serve.serve",
    register=register,
    summary="The live service: frames from RabbitMQ in; poses, points and meshes out, until SIGTERM. The messages are "
    "described in slam3r/service/wire/schema.json. RABBITMQ_URL, RABBITMQ_HOST, ENABLE_MESH_GENERATION, SAVE_SEGMENTS "
    "and SEGMENT_OUTPUT_DIR are read where given.",
    examples=("RABBITMQ_URL=amqp://user:password@host/ python scripts/serve.py model=slam3r_large",),
    see="slam3r/service/README.md tells how to run it.",
)
REPLAY = Verb(
    name="slam3r replay",
    config="replay",
    settings=ReplayCommand,
    run="slam3r.command.replay.replay",
    register=register,
    summary="Replay of a finished run (one with save_predictions=true): the map grows frame by frame, as a film, a "
    "recording for rerun, a picture, or in a window. Films are drawn on the processor, without a display.",
    examples=("python scripts/replay.py run=out output=replay.mp4", "python scripts/replay.py run=out picture=map.png"),
)
EVALUATE = Verb(
    name="slam3r evaluate",
    config="evaluate",
    settings=shared.EvaluateCommand,
    run="common.command.evaluate.evaluate",
    register=register,
    summary="Scores of a model on a benchmark: metrics.json, report.md and pictures. Started again, it continues. "
    "Or two finished runs side by side.",
    examples=(
        "python scripts/evaluate.py benchmark=rooms model=slam3r_tiny output=out",
        "python scripts/evaluate.py benchmark=replica benchmark.path=DIR model=slam3r_large output=out",
        "python scripts/evaluate.py compare=[out_a,out_b] output=out_c",
    ),
    see="each benchmark's settings in its file of configs/benchmark.",
)
TRAIN = Verb(
    name="slam3r train",
    config="train",
    settings=shared.TrainCommand,
    run="common.command.train.train",
    register=register,
    summary="Train a network by a recipe of configs/experiment. Exit codes: 0 done, 2 a mistake in the configuration "
    "or the data, 75 stopped by SIGTERM or SIGUSR1 with everything saved (continue with resume=auto).",
    examples=(
        "python scripts/train.py experiment=tiny_i2p",
        "python scripts/train.py experiment=i2p_stage1 trainer=ddp trainer.devices=8",
        "python scripts/train.py experiment=tiny_i2p debug=true",
    ),
    composed=True,
    see="the recipe's own settings in its file of configs/experiment.",
)
APP = Verb(
    name="slam3r app",
    config="app",
    settings=shared.AppCommand,
    run="common.command.app.app",
    register=register,
    summary="The web application: photographs or a video to a scene to look at and to download.",
    examples=("python scripts/app.py", "python scripts/app.py server.port=8000"),
)
PROFILE = Verb(
    name="slam3r profile",
    config="profile",
    settings=ProfileSettings,
    run="slam3r.command.profile.profile",
    register=register,
    summary="Speed on this machine: the peak of matrix products first, then every stage as time, achieved share of "
    "that peak, and peak memory.",
    examples=(
        "python scripts/profile_speed.py",
        "python scripts/profile_speed.py sizes=[tiny] stages=[peak,encode,i2p]",
    ),
)
DEMO = Verb(
    name="demo",
    config="demo",
    settings=DemoCommand,
    run="slam3r.command.demo.demo",
    register=register,
    summary="Film a room that no training saw, reconstruct it with the shipped weights, and compare with the truth; "
    "or reconstruct photographs of your own.",
    examples=("bash scripts/demo.sh", "bash scripts/demo.sh 'my photos'"),
)
