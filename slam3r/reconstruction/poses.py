"""Intrinsics and poses derived from pointmaps; the method itself needs no camera parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.geometry.cameras import make_intrinsics
from common.geometry.poses import PnpSettings, PoseFailure, pose_from_pnp, poses_from_pointmaps, shared_focal
from common.geometry.transforms import apply_transform
from slam3r.reconstruction.frames import LocalPointmap, WorldPointmap
from slam3r.reconstruction.settings import ReconstructionSettings

DEFAULT_FIELD_OF_VIEW = 60.0
"""Degrees; used when no frame yields a focal length (then every pose is doubtful too)."""


AGREEING = 0.05
"""Distance of a registered point from where the pose puts the frame's own, over its distance from the camera, at most,
for it to agree with a pose in closed form."""


@dataclass
class SolvedPose:
    """A frame's pose, or None with no inliers."""

    camera_to_world: Tensor | None
    inliers: float
    """Share of the confident pixels that agree with the pose: by `AGREEING`, or for PnP by their reprojection."""


class PoseSolver:
    """Estimates one focal length for the video, then a pose per frame."""

    def __init__(
        self, settings: ReconstructionSettings, size: tuple[int, int], intrinsics: Tensor | None = None
    ) -> None:
        """
        Args:
            settings: method and number of frames for the focal length.
            size: (height, width) of the pointmaps.
            intrinsics: (3, 3) network pixels where the camera is calibrated.
        """
        self._settings = settings
        self.size = size
        self.intrinsics: Tensor | None = None if intrinsics is None else intrinsics.cpu().float()
        """(3, 3) network pixels: given, or set by `estimate_intrinsics`."""

    def estimate_intrinsics(self, pointmaps: list[Tensor], confidences: list[Tensor]) -> Tensor:
        """Estimate a shared pinhole camera from camera-frame pointmaps: median of the frames' Weiszfeld focal lengths.

        Args:
            pointmaps: (H, W, 3) each, in the frame's own camera, any scale.
            confidences: (H, W) each; points above the local threshold count, or the better half where those are few.

        Returns:
            (3, 3) intrinsics in network pixels, principal point in the middle.
        """
        height, width = self.size
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        points = torch.stack(pointmaps[: self._settings.focal_frames]).cpu().float()
        confidence = torch.stack(confidences[: self._settings.focal_frames]).cpu().float()
        floor = confidence.flatten(1).median(dim=1).values.clamp(max=self._settings.local_threshold)
        focal = shared_focal(points, centre, confidence >= floor[:, None, None])
        if not torch.isfinite(focal):
            focal = torch.tensor(0.5 * width / torch.tensor(DEFAULT_FIELD_OF_VIEW / 2).deg2rad().tan().item())
        self.intrinsics = make_intrinsics(focal, centre)
        return self.intrinsics

    def state_dict(self) -> dict[str, Any]:
        """Size of the pointmaps, and the intrinsics where they are known."""
        return {"size": list(self.size), "intrinsics": self.intrinsics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        height, width = state["size"]
        self.size, self.intrinsics = (height, width), state["intrinsics"]

    def solve(self, world: WorldPointmap, local: LocalPointmap | None) -> SolvedPose:
        """Solve the pose of a registered frame by the method of the settings; without a local pointmap always by PnP.

        Args:
            world: the frame's registered pointmap.
            local: its own pointmap; None for the frames of the initial window.
        """
        assert self.intrinsics is not None, "estimate_intrinsics comes first"
        confidence = world.confidence.cpu().float()
        points = world.points.cpu().float()
        # The more confident half of the frame; a relative threshold also works for weak frames.
        confident = (confidence >= confidence.median()) & world.valid.cpu()
        weights = torch.where(confident, confidence, 0.0)
        if local is not None and self._settings.pose_method == "pointmaps":
            return self._solve_in_closed_form(points, local, weights)
        pose = pose_from_pnp(points, self.intrinsics, confident, PnpSettings(seed=self._settings.seed))
        if not isinstance(pose, PoseFailure):
            return SolvedPose(pose.camera_to_world, pose.inlier_ratio)
        if local is not None and self._settings.pose_method == "pnp_first":
            return self._solve_in_closed_form(points, local, weights)
        return SolvedPose(None, 0.0)

    @staticmethod
    def _solve_in_closed_form(points: Tensor, local: LocalPointmap, weights: Tensor) -> SolvedPose:
        shown = torch.where(local.valid.cpu(), weights, 0.0)
        used = shown > 0  # at most half of the pixels; the rounds of re-weighting go over these alone
        if not bool(used.any()):
            return SolvedPose(None, 0.0)
        own, world = local.points.cpu().float()[used], points[used]
        poses = poses_from_pointmaps(own[:, None], world[:, None], shown[used][:, None])
        if not bool(poses.found):
            return SolvedPose(None, 0.0)
        own = poses.scale * own
        apart = (apply_transform(poses.camera_to_world, own) - world).norm(dim=-1)
        agrees = apart < AGREEING * own.norm(dim=-1)
        return SolvedPose(poses.camera_to_world, float(agrees.float().mean()))
