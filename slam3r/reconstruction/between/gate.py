"""Choice of the keyframes of a video, from its pictures alone, before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from slam3r.reconstruction.between.settings import BetweenSettings
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.placement.tracks import TrackedPicture

FEWEST_CORNERS = 20
"""A frame in which fewer corners are found again is a keyframe: their median motion means little."""


class KeyframeGate:
    """Compares every frame with the last keyframe; the first frame of all is one."""

    def __init__(self, settings: BetweenSettings) -> None:
        """
        Args:
            settings: which frames become keyframes.
        """
        self._settings = settings
        self._index = 0
        self._last: TrackedPicture | None = None

    def see(self, index: int, picture: TrackedPicture) -> Sighting | None:
        """Take the next frame.

        Args:
            index: of the frame.
            picture: its grey picture.

        Returns:
            The last keyframe's corners in it, or None if it is a keyframe itself.
        """
        last = self._last
        if last is not None and last.grey.shape == picture.grey.shape:
            sighting = Sighting.of(self._index, last, picture)
            if not self._is_far(sighting, index, len(last.corners), picture.grey.shape[1]):
                return sighting
        self._index, self._last = index, picture
        return None

    def _is_far(self, sighting: Sighting, index: int, corners: int, width: int) -> bool:
        settings, found = self._settings, len(sighting.here)
        return (
            index - self._index >= settings.longest
            or found < max(FEWEST_CORNERS, settings.corners * corners)
            or sighting.motion > settings.motion * width
        )

    def state_dict(self) -> dict[str, Any]:
        """Index and picture of the last keyframe."""
        return {"index": self._index, "last": None if self._last is None else torch.from_numpy(self._last.grey)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._index = state["index"]
        self._last = None if state["last"] is None else TrackedPicture(state["last"].numpy())
