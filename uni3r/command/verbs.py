"""The commands of Uni3R. Describing them loads no torch."""

from __future__ import annotations

from common.command.systems import register_systems
from common.command.verb import Verb
from uni3r.command.settings import ConvertCommand, RenderCommand

RENDER = Verb(
    name="uni3r render",
    config="render",
    settings=RenderCommand,
    run="uni3r.command.render.render",
    register=register_systems,
    summary="A few pictures, or a video, to semantic Gaussians, and to films and pictures of them. "
    "uni3r/scene/outputs.py says what is written.",
    examples=("python scripts/render.py source=folder source.path=photos output=out",),
)
CONVERT = Verb(
    name="uni3r convert",
    config="convert",
    settings=ConvertCommand,
    run="uni3r.command.convert.convert",
    register=register_systems,
    summary="Published weights to our format. Split files are joined, pickles are read without running anything in "
    "them, and what the networks never use (teacher, tracking head, optimizer) is dropped.",
    examples=("python scripts/convert.py weights=DIR/2views.pth output=checkpoints/uni3r_large",),
)
