"""The commands that serve both systems. Describing them loads no torch."""

from __future__ import annotations

from common.command.settings import AppCommand, EvaluateCommand, TrainCommand
from common.command.systems import register_systems
from common.command.verb import Verb

EVALUATE = Verb(
    name="evaluate",
    config="evaluate",
    settings=EvaluateCommand,
    run="common.command.evaluate.evaluate",
    register=register_systems,
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
    name="train",
    config="train",
    settings=TrainCommand,
    run="common.command.train.train",
    register=register_systems,
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
    name="app",
    config="app",
    settings=AppCommand,
    run="common.command.app.app",
    register=register_systems,
    summary="The web application: photographs or a video to a scene to look at and to download.",
    examples=("python scripts/app.py", "python scripts/app.py server.port=8000"),
)
