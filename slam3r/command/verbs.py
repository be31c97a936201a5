"""The commands of SLAM3R. Describing them loads no torch."""

from __future__ import annotations

from dataclasses import replace

from common.command import verbs
from common.command.systems import register_systems
from common.command.verb import Verb
from slam3r.command.own_model import own_model
from slam3r.command.settings import (
    DemoCommand,
    ExtendCommand,
    LocalizeCommand,
    MergeCommand,
    ReconstructCommand,
    ReplayCommand,
    ViewCommand,
)
from slam3r.profiling.settings import ProfileSettings
from slam3r.service.settings import ServeConfiguration

RECONSTRUCT = Verb(
    name="slam3r reconstruct",
    config="reconstruct",
    settings=ReconstructCommand,
    run="slam3r.command.reconstruct.reconstruct",
    register=register_systems,
    summary="Photographs taken in order, or a video, to a coloured point cloud with a camera pose per frame. "
    "slam3r/scene/outputs.py says what is written.",
    examples=(
        "slam3r reconstruct photos",
        "slam3r reconstruct tour.mp4 -o out source.fps=5 export.colmap=true",
        "slam3r reconstruct 'photos/left_*.jpg' --model slam3r_large",
        "slam3r reconstruct videos/*.mp4 -o out many.workers=4",
    ),
    input="source",
    input_name="INPUT",
    many="slam3r.command.reconstruct.prepare_many",
    own_model=own_model,
    see="several folders or videos: docs/many.md.",
)
LIVE = Verb(
    name="slam3r live",
    config="reconstruct",
    settings=ReconstructCommand,
    run="slam3r.command.reconstruct.reconstruct",
    register=register_systems,
    summary="A camera, a stream or a video while it goes on: poses and points with every frame, a folder per segment "
    "of the stream, and a viewer where rerun is installed. Ctrl-C ends it and keeps everything.",
    examples=("slam3r live camera:0", "slam3r live rtsp://host/stream -o out"),
    fixed=("live=true",),
    input="source",
    input_name="INPUT",
    without=("live", "many", "cameras", "depths", "masks", "scale", "known", "export", "save_predictions"),
    own_model=own_model,
)
SERVE = Verb(
    name="slam3r serve",
    config="serve",
    settings=ServeConfiguration,
    run="slam3r.command.serve.serve",
    register=register_systems,
    summary="The live service: frames from RabbitMQ in; poses, points and meshes out, until SIGTERM. The messages are "
    "described in slam3r/service/wire/schema.json. RABBITMQ_URL, RABBITMQ_HOST, ENABLE_MESH_GENERATION, SAVE_SEGMENTS "
    "and SEGMENT_OUTPUT_DIR are read where given.",
    examples=("RABBITMQ_URL=amqp://user:password@host/ slam3r serve --model slam3r_large",),
    own_model=own_model,
    see="slam3r/service/README.md tells how to run it.",
)
REPLAY = Verb(
    name="slam3r replay",
    config="replay",
    settings=ReplayCommand,
    run="slam3r.command.replay.replay",
    register=register_systems,
    summary="Replay of a finished run (one with save_predictions=true): the map grows frame by frame, as a film, a "
    "recording for rerun, a picture, or in a window. Films are drawn on the processor, without a display.",
    examples=("slam3r replay out", "slam3r replay out -o tour.gif", "slam3r replay out picture=map.png"),
    input="run",
    input_name="RUN",
)
VIEW = Verb(
    name="slam3r view",
    config="view",
    settings=ViewCommand,
    run="slam3r.command.view.view",
    register=register_systems,
    summary="A finished result in the browser, without a model: points or Gaussians, cameras, mesh, and the scene "
    "before and after refinement. Ctrl-C ends it.",
    examples=("slam3r view out", "slam3r view out server.port=8000"),
    input="run",
    input_name="RUN",
)
LOCALIZE = Verb(
    name="slam3r localize",
    config="localize",
    settings=LocalizeCommand,
    run="slam3r.command.localize.localize_pictures",
    register=register_systems,
    summary="Poses of new pictures in the world of a finished run, with their confidence, or the reason why a picture "
    "is refused. Needs no model: matches with the run's pictures, whose points are in points.ply, and a pose that most "
    "of them agree on.",
    examples=(
        "slam3r localize out photo.jpg",
        "slam3r localize out more -o poses",
        "slam3r localize out a.jpg b.jpg focal=1520",
    ),
    input="run",
    input_name="RUN PICTURES...",
    more="pictures",
    see="docs/continuation.md.",
)
EXTEND = Verb(
    name="slam3r extend",
    config="extend",
    settings=ExtendCommand,
    run="slam3r.command.extend.extend_run",
    register=register_systems,
    summary="More pictures into the world of a finished run: its poses stay, and one result holds both. Refused before "
    "any long work where the pictures do not show what the run shows.",
    examples=("slam3r extend out more -o new", "slam3r extend out second_walk.mp4 every=10 -o new"),
    input="run",
    input_name="RUN PICTURES...",
    more="pictures",
    see="docs/continuation.md.",
)
MERGE = Verb(
    name="slam3r merge",
    config="merge",
    settings=MergeCommand,
    run="slam3r.command.merge.merge_runs",
    register=register_systems,
    summary="Two finished runs into one, by the similarity (scale included) that points which both show agree on: "
    "points, poses, COLMAP model. Refused with a reason where the runs do not overlap.",
    examples=("slam3r merge out_a out_b -o new",),
    input="run",
    input_name="RUN_A RUN_B",
    more="others",
    see="docs/continuation.md.",
)
PROFILE = Verb(
    name="slam3r profile",
    config="profile",
    settings=ProfileSettings,
    run="slam3r.command.profile.profile",
    register=register_systems,
    summary="Speed on this machine: the peak of matrix products first, then every stage as time, achieved share of "
    "that peak, and peak memory.",
    examples=(
        "slam3r profile",
        "slam3r profile sizes=[tiny] stages=[peak,encode,i2p]",
    ),
)
EVALUATE = replace(verbs.EVALUATE, name="slam3r evaluate", own_model=own_model)
TRAIN = replace(verbs.TRAIN, name="slam3r train")
DEMO = Verb(
    name="demo",
    config="demo",
    settings=DemoCommand,
    run="slam3r.command.demo.demo",
    register=register_systems,
    summary="Film a room that no training saw, reconstruct it with the shipped weights, and compare with the truth; "
    "or reconstruct photographs of your own.",
    examples=("bash scripts/demo.sh", "bash scripts/demo.sh 'my photos'"),
    input="photos",
    input_name="[PHOTOS]",
)
