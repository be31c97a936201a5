"""The commands of Uni3R. Describing them loads no torch."""

from __future__ import annotations

from dataclasses import replace

from common.command import verbs
from common.command.systems import register_systems
from common.command.verb import Verb
from uni3r.command.own_model import own_model
from uni3r.command.settings import ConvertCommand, RenderCommand

RENDER = Verb(
    name="uni3r render",
    config="render",
    settings=RenderCommand,
    run="uni3r.command.render.render",
    register=register_systems,
    summary="A few pictures, or a video, to semantic Gaussians, and to films and pictures of them. "
    "uni3r/scene/outputs.py says what is written.",
    examples=("uni3r render photos", "uni3r render left.jpg right.jpg -o out queries=[chair,floor]"),
    input="source",
    input_name="INPUT",
    many="uni3r.command.render.prepare_many",
    own_model=own_model,
    see="several folders or videos: docs/many.md.",
)
CONVERT = Verb(
    name="uni3r convert",
    config="convert",
    settings=ConvertCommand,
    run="uni3r.command.convert.convert",
    register=register_systems,
    summary="Published weights to our format. Split files are joined, pickles are read without running anything in "
    "them, and what the networks never use (teacher, tracking head, optimizer) is dropped.",
    examples=("uni3r convert DIR/2views.pth -o checkpoints/uni3r_large",),
    input="weights",
    input_name="WEIGHTS",
)
EVALUATE = replace(
    verbs.EVALUATE,
    name="uni3r evaluate",
    usual=("benchmark=uni3r_rooms", "model=uni3r_tiny"),
    own_model=own_model,
    examples=("uni3r evaluate uni3r_rooms -o out", "uni3r evaluate compare=[out_a,out_b] -o out_c"),
)
TRAIN = replace(
    verbs.TRAIN,
    name="uni3r train",
    examples=("uni3r train uni3r_tiny", "uni3r train uni3r_2view trainer=ddp trainer.devices=8"),
)
