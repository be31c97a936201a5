"""Settings of the commands of SLAM3R: one dataclass per primary file of ``configs``. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common.app.settings import ServerSettings
from common.command.many.settings import ManySettings
from common.command.registry import register
from common.command.sources import register_sources
from common.configuration import GivenText
from common.drawing.settings import FilmSettings
from common.geometry.calibration import Calibration
from common.known.settings import KnownSettings, ScaleSettings
from common.ranges import Count, CountOrZero, Positive, Threads
from common.refinement.settings import Mode, RefinementSettings
from slam3r.continuation.settings import MergingSettings, OldPoses, PlacingSettings
from slam3r.live.settings import StreamingSettings, ViewSettings
from slam3r.models.description import Slam3rDescription
from slam3r.profiling.settings import ProfileSettings
from slam3r.reconstruction.settings import ReconstructionSettings
from slam3r.scene.settings import ExportSettings, RunSettings
from slam3r.service.settings import ServeConfiguration


@dataclass(frozen=True, kw_only=True)
class ReconstructCommand:
    """``slam3r reconstruct`` and ``slam3r live``: ``configs/reconstruct.yaml``."""

    source: dict[str, Any] = field(metadata={"group": "source"})
    """Source of the frames: folder, video, glob, list, files or camera."""
    model: Slam3rDescription = field(metadata={"group": "model"})
    """Model to run: slam3r_tiny or slam3r_large."""
    reconstruction: ReconstructionSettings = field(metadata={"group": "reconstruction"})
    """Settings of the reconstruction: default, fast, wild, replica or live."""
    refinement: RefinementSettings = field(metadata={"group": "refinement"})
    """Whether the views are made consistent afterwards: auto, off, cameras or dense; default: as the model asks."""
    streaming: StreamingSettings = field(metadata={"group": "streaming"})
    """Settings of a live session."""
    camera: Calibration | None = field(default=None, metadata={"group": "camera"})
    """Calibration of the camera (a file of ``configs/camera``); null: estimated."""
    cameras: GivenText | None = None
    """Known poses and intrinsics: transforms.json, a COLMAP model, or a folder of ScanNet or TUM RGB-D."""
    depths: GivenText | None = None
    """Folder of measured depths, sparse or dense: 16-bit PNG in millimetres, .npy or .tif of floats in metres."""
    masks: GivenText | None = None
    """Folder of masks, white where a picture may be used."""
    output: GivenText | None = None
    """Folder for the results; null: beside the input, ``photos_reconstruction``, and never one that exists."""
    overwrite: bool = False
    """Replace results of an earlier run in that folder."""
    save_predictions: bool = False
    """Also write every frame's pointmaps and confidences (2.2 MB a frame); replay needs them."""
    live: bool = False
    """Give results while frames arrive: a map per segment, and windows without look-ahead."""
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    """One known length, which makes the result metric."""
    known: KnownSettings = field(default_factory=KnownSettings)
    """Trust in known cameras and depths."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Selection and formats of the output."""
    run: RunSettings = field(default_factory=RunSettings)
    """Device, image size and how the work is done."""
    view: ViewSettings = field(default_factory=ViewSettings)
    """Viewer of a live session."""
    many: ManySettings = field(default_factory=ManySettings)
    """Workers, where several inputs are given."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class ReplayCommand:
    """``slam3r replay``: ``configs/replay.yaml``."""

    run: str
    """Result folder of a run with save_predictions=true."""
    output: str | None = None
    """Film to write: .mp4 or .gif; null, if nothing else is asked for: replay.mp4 in the run's folder."""
    rerun: str | None = None
    """Recording to write for rerun's viewer: .rrd (needs the extra ``viewer``)."""
    picture: str | None = None
    """Picture of the finished map to write: .png."""
    window: bool = False
    """Show the map in a window (needs a display): V saves the viewpoint, Space pauses."""
    viewpoint: str | None = None
    """JSON file of the window's viewpoint: read if it exists, written by V."""
    confidence: float | None = None
    """Points above it are shown; null: the run's own threshold."""
    max_points: Count = 1_000_000
    """Points shown at most, a random choice."""
    film: FilmSettings = field(default_factory=FilmSettings)
    """Appearance of the film."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class ViewCommand:
    """``slam3r view``: ``configs/view.yaml``."""

    run: str
    """Result folder: of a reconstruction, a segment of a live session, or a scene of Uni3R."""
    server: ServerSettings = field(default_factory=ServerSettings)
    """Address and port to listen on."""


@dataclass(frozen=True, kw_only=True)
class LocalizeCommand:
    """``slam3r localize``: ``configs/localize.yaml``."""

    run: str
    """Result folder of slam3r reconstruct, with pictures in files."""
    pictures: tuple[str, ...]
    """New pictures: image files, or one folder, pattern or video."""
    cameras: GivenText | None = None
    """Known intrinsics of the pictures: transforms.json, a COLMAP model, or a folder of ScanNet or TUM RGB-D."""
    focal: Positive | None = None
    """Focal length of the pictures, pixels; null: that of the run for pictures of its size, else EXIF or estimated."""
    output: GivenText | None = None
    """Folder for localized.json and trajectory.txt; null: ``localized`` in the run's folder, never one that exists."""
    overwrite: bool = False
    """Replace the poses of an earlier call in that folder."""
    placing: PlacingSettings = field(default_factory=PlacingSettings)
    """Work that is done for a picture, and when it is refused."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class ExtendCommand:
    """``slam3r extend``: ``configs/extend.yaml``."""

    run: str
    """Result folder of slam3r reconstruct, with pictures in files."""
    pictures: tuple[str, ...]
    """Further pictures of the same place, in order: image files, or one folder, pattern or video."""
    every: Count = 1
    """Take every n-th of them."""
    output: GivenText
    """Folder for the results of both together."""
    overwrite: bool = False
    """Replace results of an earlier run in that folder."""
    model: GivenText | None = None
    """Name of the model; null: that of the run."""
    mode: Mode | None = None
    """Refinement: off, cameras, dense or auto; null: as the run was made."""
    poses: OldPoses = "fixed"
    """Poses of the run: fixed, or prior (adjusted within `sigma`)."""
    sigma: Positive | None = None
    """Standard deviation of the run's positions for ``poses=prior``, in its unit; null: a hundredth of its path's
    extent."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Selection and formats of the output; what the run wrote is written in any case."""
    options: RunSettings = field(default_factory=RunSettings)
    """Device and how the work is done; the image size is the run's."""
    placing: PlacingSettings = field(default_factory=PlacingSettings)
    """Check, before any long work, that the pictures show what the run shows."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class MergeCommand:
    """``slam3r merge``: ``configs/merge.yaml``."""

    run: str
    """Result folder of slam3r reconstruct, whose world and unit are kept."""
    others: tuple[str, ...]
    """Result folder of the other run, which is moved there."""
    output: GivenText
    """Folder for the merged result."""
    overwrite: bool = False
    """Replace results of an earlier run in that folder."""
    export: ExportSettings = field(default_factory=lambda: ExportSettings(colmap=True))
    """Selection and formats of the output."""
    merging: MergingSettings = field(default_factory=MergingSettings)
    """Search for the similarity, and the thresholds below which it is refused."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """``bash scripts/demo.sh``: ``configs/demo.yaml``."""

    model: Slam3rDescription = field(metadata={"group": "model"})
    """Model to run: slam3r_tiny or slam3r_large."""
    reconstruction: ReconstructionSettings = field(metadata={"group": "reconstruction"})
    """Settings of the reconstruction: default, fast, wild, replica or live."""
    refinement: RefinementSettings = field(metadata={"group": "refinement"})
    """Whether the views are made consistent afterwards: auto, off, cameras or dense; default: as the model asks."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Selection and formats of the output."""
    photos: str | None = None
    """Folder of photographs or a video; null: film a procedural room."""
    room: CountOrZero = 2000
    """Number of the room among the held-out ones."""
    frames: Count = 40
    """Frames of the room's video."""
    output: GivenText = "results/demo"
    """Folder for the results, replaced on every run."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


def register_settings() -> None:
    """Make the defaults of all commands known to Hydra (`common.command.registry`)."""
    register_sources()
    register("slam3r_model", Slam3rDescription)
    register("reconstruction", ReconstructionSettings, falls_back_on="model.reconstruction")
    register("refinement", RefinementSettings)
    register("streaming", StreamingSettings)
    register("calibration", Calibration)
    register("reconstruct", ReconstructCommand)
    register("serve", ServeConfiguration)
    register("replay", ReplayCommand)
    register("view", ViewCommand)
    register("profile", ProfileSettings)
    register("localize", LocalizeCommand)
    register("extend", ExtendCommand)
    register("merge", MergeCommand)
    register("demo", DemoCommand)
