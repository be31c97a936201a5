"""Settings of the commands of Uni3R: one dataclass per primary file of ``configs``. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from common.command.many.settings import ManySettings
from common.command.registry import register
from common.command.sources import register_sources
from common.configuration import GivenText, UserPath
from common.ranges import Threads
from uni3r.models.description import Uni3rDescription
from uni3r.scene.settings import ExportSettings, RunSettings


@dataclass(frozen=True, kw_only=True)
class RenderCommand:
    """``uni3r render``: ``configs/render.yaml``."""

    source: dict[str, Any] = field(metadata={"group": "source"})
    """Source of the pictures: folder, video, glob, list, files or camera."""
    model: Uni3rDescription = field(metadata={"group": "model"})
    """Model to run: uni3r_tiny, uni3r_large or uni3r_multiview."""
    queries: tuple[str, ...] = ()
    """Words to look for, such as [chair, floor]: a heat map per view and word."""
    cameras: str | None = None
    """Known poses and intrinsics: transforms.json, a COLMAP model, or a folder of ScanNet or TUM RGB-D."""
    teacher_source: str | None = None
    """Weights of the teacher that words come from: uni3r_large needs LSeg's demo_e200.ckpt."""
    output: GivenText | None = None
    """Folder for the results; null: beside the input, ``photos_gaussians``, and never one that exists."""
    overwrite: bool = False
    """Replace results of an earlier run in that folder."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Formats of the output."""
    run: RunSettings = field(default_factory=RunSettings)
    """Construction of the scene."""
    many: ManySettings = field(default_factory=ManySettings)
    """Workers, where several inputs are given."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class ConvertCommand:
    """``uni3r convert``: ``configs/convert.yaml``."""

    weights: UserPath
    """A .pth, .pt, .ckpt, .bin or .safetensors file; of a split file, the whole's name or a part."""
    output: UserPath
    """Folder for config.json and model.safetensors."""
    teacher: bool = False
    """Take the VGGT teacher out of a Uni3R file in place of the model."""
    keep: list[Literal["camera_head", "depth_head"]] = field(default_factory=list)
    """Parts of Uni3R files to keep that are left out otherwise."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Type to store weights in; null keeps theirs."""
    scratch: UserPath
    """Folder where parts are joined; needs as much room as they take."""
    license: str | None = None
    """Licence of the weights, noted in config.json."""
    sizes: dict[str, Any] = field(default_factory=dict)
    """Sizes of the network that the shapes do not show, such as {encoder_heads: 8}."""
    networks: dict[str, str]
    """Class that loads the result, by family of the checkpoint."""


def register_settings() -> None:
    """Make the defaults of all commands known to Hydra (`common.command.registry`)."""
    register_sources()
    register("uni3r_model", Uni3rDescription)
    register("render", RenderCommand)
    register("convert", ConvertCommand)
