"""State held while frames wait for the keyframe after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slam3r.reconstruction.between.placing import Anchor
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.reconstruction.placement.tracks import TrackedPicture


@dataclass(frozen=True)
class WaitingFrame:
    """A frame that was pushed and is not finished."""

    index: int
    image: Tensor
    """(3, H, W) in [-1, 1], on the CPU."""
    timestamp: float
    name: str
    picture: TrackedPicture
    sighting: Sighting | None
    """Corners of the last keyframe; None for a keyframe."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, nested by name; the picture follows from the image."""
        seen = self.sighting
        return {
            "index": self.index,
            "image": self.image,
            "timestamp": self.timestamp,
            "name": self.name,
            "sighting": None
            if seen is None
            else {
                "keyframe": seen.keyframe,
                "there": torch.from_numpy(seen.there),
                "here": torch.from_numpy(seen.here),
            },
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> WaitingFrame:
        """The frame of a `state_dict`."""
        seen, image = state["sighting"], state["image"]
        sighting = None if seen is None else Sighting(seen["keyframe"], seen["there"].numpy(), seen["here"].numpy())
        picture = TrackedPicture.from_image(image)
        return WaitingFrame(state["index"], image, state["timestamp"], state["name"], picture, sighting)


@dataclass(frozen=True)
class FinishedKeyframe:
    """A registered keyframe, as the frames beside it need it."""

    anchor: Anchor
    picture: TrackedPicture
    mean_confidence: float
    local_mean_confidence: float

    @staticmethod
    def of(frame: RegisteredFrame, picture: TrackedPicture) -> FinishedKeyframe:
        """From a registered frame; the more confident half of its points is trusted, as for its own pose."""
        confidence, pose = frame.world_confidence.float(), frame.camera_to_world
        depth = torch.zeros_like(confidence) if pose is None else frame.depth()
        assert depth is not None
        trusted = torch.where(confidence >= confidence.median(), depth, 0.0).numpy()
        anchor = Anchor(frame.index, trusted, None if pose is None else pose.double().numpy())
        return FinishedKeyframe(anchor, picture, frame.mean_confidence, frame.local_mean_confidence)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, by name."""
        pose = self.anchor.camera_to_world
        return {
            "index": self.anchor.index,
            "depth": torch.from_numpy(self.anchor.depth),
            "camera_to_world": None if pose is None else torch.from_numpy(pose),
            "grey": torch.from_numpy(self.picture.grey),
            "means": [self.mean_confidence, self.local_mean_confidence],
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> FinishedKeyframe:
        """The keyframe of a `state_dict`."""
        pose = state["camera_to_world"]
        anchor = Anchor(state["index"], state["depth"].numpy(), None if pose is None else pose.numpy())
        return FinishedKeyframe(anchor, TrackedPicture(state["grey"].numpy()), *state["means"])
