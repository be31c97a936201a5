"""The commands that serve both systems. Describing them loads no torch."""

from __future__ import annotations

from common.command.settings import AppCommand, EvaluateCommand, TrainCommand
from common.command.systems import register_systems
from common.command.verb import Verb
from common.training.settings import TrainSettings

EVALUATE = Verb(
    name="evaluate",
    config="evaluate",
    settings=EvaluateCommand,
    run="common.command.evaluate.evaluate",
    register=register_systems,
    summary="Scores of a model on a benchmark: metrics.json, report.md and pictures. Started again, it continues. "
    "Or two finished runs side by side.",
    examples=(
        "slam3r evaluate rooms -o out",
        "slam3r evaluate replica benchmark.path=DIR --model slam3r_large -o out",
        "slam3r evaluate compare=[out_a,out_b] -o out_c",
    ),
    input="benchmark",
    input_name="[BENCHMARK]",
    see="each benchmark's settings in its file of configs/benchmark.",
)
TRAIN = Verb(
    name="train",
    config="train",
    settings=TrainCommand,
    run="common.command.train.train",
    register=register_systems,
    summary="Train a network by a recipe of configs/experiment. Exit codes: 0 done, 2 a mistake in the configuration "
    "or the data, 75 stopped by SIGTERM or SIGUSR1 with everything saved (continue with resume=auto).",
    examples=(
        "slam3r train tiny_i2p",
        "slam3r train i2p_stage1 trainer=ddp trainer.devices=8",
        "slam3r train tiny_i2p debug=true",
    ),
    input="experiment",
    input_name="EXPERIMENT",
    composed=TrainSettings,
    see="the recipe's own settings in its file of configs/experiment.",
)
APP = Verb(
    name="slam3r app",
    config="app",
    settings=AppCommand,
    run="common.command.app.app",
    register=register_systems,
    summary="The web application: photographs or a video to a scene to look at and to download.",
    examples=("slam3r app", "slam3r app server.port=8000"),
)
