"""Building of a scene from images: choice of views, intrinsics and poses, one forward pass."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.preprocess import intrinsics_to_network, preprocess
from common.errors import InputError
from common.geometry.cameras import make_intrinsics
from common.geometry.poses import shared_focal
from common.geometry.transforms import invert_rigid, make_transform
from common.known.cameras import KnownCamera, KnownCameras
from common.progress import ProgressReporter
from common.refinement.outcome import Verdict
from common.refinement.pictures import WorkingPictures
from common.refinement.types import Picture as WorkingPicture
from common.views import Cameras
from uni3r.models.ray_alignment import estimate_poses
from uni3r.models.uni3r import Prediction, Uni3R
from uni3r.posing.matched_cameras import match_cameras
from uni3r.posing.refinement import refine_context, search_unit, view_part
from uni3r.pretrained import ReadyUni3R
from uni3r.scene.scene import Scene
from uni3r.scene.scene_data import InputView
from uni3r.scene.settings import RunSettings
from uni3r.semantics.teacher import Teacher

_ALIGNED_FIRST = 4
"""Up to so many pictures, poses are aligned directly before they are matched."""
_FIRST_GUESS = 60.0
"""Initial field of view in degrees along the longer side, before it is estimated from the points."""


@dataclass(frozen=True)
class _Picture:
    view: InputView
    image: Tensor
    intrinsics: np.ndarray | None
    """(3, 3) in pixels of the original image, if known."""
    working: WorkingPicture | None
    """Picture to match features in; None where cameras are known or stay as they are."""


def build_scene(
    source: FrameSource,
    model: ReadyUni3R,
    teacher: Teacher | None,
    known: KnownCameras | None,
    settings: RunSettings,
) -> Scene:
    """Build a scene from a validated source.

    Args:
        source: source of images.
        model: loaded model.
        teacher: text encoder, and source of the features that published weights expect; or None.
        known: cameras of the images; None uses the model's own poses.
        settings: see `RunSettings`.

    Raises:
        InputError: no picture, or one without a camera.
    """
    start = time.perf_counter()
    count = settings.views or model.settings.views
    pictures = _choose_pictures(source, model.settings.size, count, settings, known)
    network = model.network
    images = torch.stack([picture.image for picture in pictures])[None].to(model.device)
    read = time.perf_counter()
    with torch.no_grad(), ProgressReporter("network", show=settings.progress):
        residual = _residual(network, teacher, images)
        intrinsics, origin = _intrinsics(network, images, residual, pictures, known, settings)
        prediction = network(images, intrinsics, residual)
        own = _own_poses(prediction, intrinsics)
    seconds = {"read": read - start, "network": time.perf_counter() - read}
    scene = Scene(
        prediction.gaussians,
        Cameras(own, intrinsics[0]),
        images[0],
        prediction.pointmaps[0],
        [picture.view for picture in pictures],
        network,
        teacher,
        model.settings.labels,
        model.settings.sh_degree,
        model.settings.background,
        origin,
        "own",
        seconds=seconds,
        model=model.provenance,
        warnings=[f"{name}: {reason}" for name, reason in source.skipped] + source.notes,
    )
    if known is not None:
        scene.verdict = Verdict(reason="the cameras were given")
        return _in_given_world(scene, residual, known)
    return _with_better_poses(scene, residual, pictures, settings)


def _with_better_poses(scene: Scene, residual: Tensor | None, pictures: list[_Picture], settings: RunSettings) -> Scene:
    """The scene with poses from direct alignment and from matches, where these win."""
    working = [picture.working for picture in pictures]
    on_rays = scene.network.config.centres == "rays"
    lost = [view.name for number, view in enumerate(scene.views) if number not in scene.posed]
    if on_rays and None not in working and (lost or len(pictures) > _ALIGNED_FIRST):
        # Many pictures match without help and sooner; a view without a pose begins beside its neighbour.
        guess = _with_poses(scene, residual, _beside_neighbours(scene.cameras.camera_to_world)) if lost else scene
        matched = _with_matched_cameras(guess, working, settings)
        if matched.poses_from == "matched":
            return matched
        if lost:
            scene = replace(scene, verdict=matched.verdict, warnings=matched.warnings)
    elif lost:
        scene = _with_matched_cameras(scene, working, settings)  # keeps the cameras, and says why
    if lost:
        return replace(scene, warnings=[*scene.warnings, f"no pose was found for {', '.join(lost)}"])
    if settings.refine and on_rays and len(pictures) > 1:
        begin = time.perf_counter()
        with ProgressReporter("align poses", show=settings.progress):
            better = refine_context(scene.gaussians, scene.cameras, (scene.images + 1) / 2, settings.refinement)
        scene = _with_poses(scene, residual, better)
        scene.seconds["refine poses"] = time.perf_counter() - begin
    return _with_matched_cameras(scene, working, settings)


def _choose_pictures(
    source: FrameSource, size: tuple[int, int], number: int, settings: RunSettings, known: KnownCameras | None
) -> list[_Picture]:
    """Views spread evenly over a source of unknown length; at most twice as many are held.

    Where cameras are known, pictures without one are left out by name.
    """
    held: list[tuple[int, _Picture]] = []
    wanted = known is None and settings.refine and settings.matched.mode != "off"
    working = WorkingPictures(settings.matched.cameras.long_side) if wanted else None
    step = 1
    count = -1
    with ProgressReporter("read", source.length, "picture", show=settings.progress) as progress:
        for frame in progress.over(source):
            camera = None if known is None else known.find(frame.name)
            if known is not None and camera is None:
                source.skipped.append((frame.name, known.why_missing(frame.name)))
                continue
            count += 1
            if count % step:
                continue
            source.note_crop(frame.image.shape[:2], size)
            held.append((count, _picture(frame, size, known, camera, working)))
            if len(held) > 2 * number:
                step *= 2
                held = [item for item in held if item[0] % step == 0]
    if not held:
        raise InputError(": ".join(source.skipped[0]) if source.skipped else "no picture could be read")
    chosen = torch.linspace(0, len(held) - 1, min(number, len(held))).round().long().unique().tolist()
    return [held[index][1] for index in chosen]


def _picture(
    frame: Frame,
    size: tuple[int, int],
    known: KnownCameras | None,
    camera: KnownCamera | None,
    working: WorkingPictures | None,
) -> _Picture:
    image, file, intrinsics = frame.image, frame.path, None
    if known is not None and camera is not None:
        straight = known.straighten(frame.name, camera, image)
        image, intrinsics = straight.image, straight.intrinsics
        file = file if straight.is_original else None  # nothing on the disk has these pixels
    prepared = preprocess(image, size)
    view = InputView(frame.name, frame.index, prepared.original_size, prepared.original_from_network, file)
    matched = (
        None if working is None else working.of(frame.image, prepared.original_from_network, frame.name, frame.path)
    )
    return _Picture(view, prepared.image, intrinsics, matched)


def _residual(network: Uni3R, teacher: Teacher | None, images: Tensor) -> Tensor | None:
    """Features that published weights expect of their teacher; models trained on labels expect none."""
    if teacher is None or network.feature_compressor is None:
        return None
    if isinstance(teacher, torch.nn.Module):
        teacher.to(images.device)
    return teacher.features(images)


def _intrinsics(
    network: Uni3R,
    images: Tensor,
    residual: Tensor | None,
    pictures: list[_Picture],
    known: KnownCameras | None,
    settings: RunSettings,
) -> tuple[Tensor, Literal["given", "field of view", "estimated"]]:
    """(1, V, 3, 3) at network size, and their origin."""
    affine = torch.stack([picture.view.original_from_network for picture in pictures])
    if known is not None:
        given = [torch.from_numpy(np.asarray(picture.intrinsics)) for picture in pictures]
        return intrinsics_to_network(torch.stack(given), affine)[None].float().to(images.device), "given"
    degrees = settings.field_of_view or _FIRST_GUESS
    originals = []
    for picture in pictures:
        height, width = picture.view.original_size
        focal = torch.tensor(max(height, width) / 2 / math.tan(math.radians(degrees) / 2), dtype=torch.float64)
        originals.append(make_intrinsics(focal, torch.tensor([(width - 1) / 2, (height - 1) / 2]).double()))
    guess = intrinsics_to_network(torch.stack(originals), affine)[None].float().to(images.device)
    if settings.field_of_view is not None:
        return guess, "field of view"
    points = network(images, guess, residual).pointmaps
    focal = shared_focal(points.points[0, :1].float(), guess[0, 0, :2, 2])
    if bool(focal.isfinite()):  # the same for all pictures
        ratio = focal / guess[0, 0, 0, 0]
        guess[..., 0, 0] *= ratio
        guess[..., 1, 1] *= ratio
    return guess, "estimated"


def _own_poses(prediction: Prediction, intrinsics: Tensor) -> Tensor:
    """(V, 4, 4) from the points; NaN where none was found."""
    if prediction.camera_to_world is not None:
        return prediction.camera_to_world[0]
    return estimate_poses(prediction.pointmaps, intrinsics)[0]


def _beside_neighbours(poses: Tensor) -> Tensor:
    """(V, 4, 4) poses in which a view without one has that of the nearest view with one; view 0 always has one."""
    known = poses.isfinite().all(dim=(-2, -1)).nonzero()[:, 0]
    order = torch.arange(len(poses), device=poses.device)
    return poses[known[(order[:, None] - known[None]).abs().argmin(dim=1)]]


def _with_poses(scene: Scene, residual: Tensor | None, poses: Tensor) -> Scene:
    """The scene with its Gaussians on rays by other poses (V, 4, 4), in the frame of view 0."""
    with torch.no_grad():
        prediction = scene.network(scene.images[None], scene.cameras.intrinsics[None], residual, poses[None])
    return replace(scene, gaussians=prediction.gaussians, cameras=Cameras(poses, scene.cameras.intrinsics))


def _with_matched_cameras(scene: Scene, pictures: list[WorkingPicture | None], settings: RunSettings) -> Scene:
    """The scene with cameras from matches in its pictures, where these win; `verdict` says why or why not."""
    held = [picture for picture in pictures if picture is not None]
    if len(held) < len(pictures):
        return replace(scene, verdict=Verdict(reason="the refinement of cameras was switched off"))
    begin = time.perf_counter()
    told = scene.intrinsics_from == "field of view"
    with ProgressReporter("match cameras", 1.0, show=settings.progress) as progress:
        matched = match_cameras(
            scene.gaussians,
            scene.cameras,
            scene.pointmaps.confidence,
            held,
            settings.matched,
            known_intrinsics=told,
            progress=lambda stage, share: progress.at(f"match cameras: {stage}", share),
        )
    scene = replace(scene, gaussians=matched.gaussians, cameras=matched.cameras, verdict=matched.verdict)
    scene.seconds["match cameras"] = scene.seconds.get("match cameras", 0.0) + time.perf_counter() - begin
    if matched.taken:
        scene = replace(scene, poses_from="matched", intrinsics_from=scene.intrinsics_from if told else "matched")
    warnings = [*scene.warnings]  # a list of its own: the scene as it was may go on without them
    if matched.loose:
        names = ", ".join(scene.views[view].name for view in matched.loose)
        warnings.append(f"no matches connect {names} with the other pictures: the pose is a guess")
    if matched.verdict.agrees is False:
        warnings.append(matched.verdict.sentence())
    return replace(scene, warnings=warnings)


def _in_given_world(scene: Scene, residual: Tensor | None, known: KnownCameras) -> Scene:
    """The scene in the world and unit of the known cameras."""
    cameras = [known.find(view.name) for view in scene.views]  # images without a camera were left out before
    stacked = np.stack([camera.camera_to_world for camera in cameras if camera is not None])
    given = torch.from_numpy(stacked).to(scene.cameras.camera_to_world)
    relative = invert_rigid(given[:1]) @ given
    on_rays = scene.network.config.centres == "rays"
    if on_rays and len(given) > 1:
        first = view_part(scene.gaussians, 0, len(given))
        unit = search_unit(first, Cameras(relative, scene.cameras.intrinsics), (scene.images + 1) / 2)
    else:
        unit = _unit_ratio(scene.cameras.camera_to_world, relative)
    if unit is None:
        scene.warnings.append("the given poses hardly move: the unit of the results is the network's")
        unit = torch.ones(()).to(given)
    if on_rays:
        scaled = relative.clone()
        scaled[:, :3, 3] /= unit
        scene = _with_poses(scene, residual, scaled)
    gaussians = scene.gaussians.transform(make_transform(unit * given[0, :3, :3], given[0, :3, 3]))
    return replace(scene, gaussians=gaussians, cameras=Cameras(given, scene.cameras.intrinsics), poses_from="given")


def _unit_ratio(own: Tensor, given: Tensor) -> Tensor | None:
    """Given unit per network unit: the ratio of summed distances from camera 0; None where there is no motion."""
    usable = own.isfinite().all(dim=(-2, -1))
    ours, theirs = (poses[usable, :3, 3].norm(dim=-1).sum() for poses in (own, given))
    return theirs / ours if ours > 1e-6 and theirs > 1e-6 else None
