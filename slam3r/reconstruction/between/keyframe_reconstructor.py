"""A reconstructor that sees keyframes alone; the frames between them are placed by tracked corners."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.meters import StageTimer
from slam3r.reconstruction.between.gate import KeyframeGate
from slam3r.reconstruction.between.placing import Rays, place_between
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.between.waiting import FinishedKeyframe, WaitingFrame
from slam3r.reconstruction.events import Event, Observer, renumbered
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.placement.tracks import TrackedPicture
from slam3r.reconstruction.reconstructor import Reconstructor
from slam3r.reconstruction.settings import ReconstructionSettings


class KeyframeReconstructor:
    """Streaming reconstruction with the interface of `Reconstructor`, in which most frames only get a pose.

    `KeyframeGate` chooses the keyframes, and the last frame is one as well; `Reconstructor` sees these as its sequence.
    A frame between two keyframes waits for the second of them. Frames come out in the order of pushing. Indices in
    results and events count all frames, strides count keyframes. State is bounded: besides `Reconstructor`'s, the
    frames since the last finished keyframe.
    """

    def __init__(
        self,
        networks: Networks,
        settings: ReconstructionSettings,
        observe: Observer | None = None,
        intrinsics: Tensor | None = None,
        largest_stride: int | None = None,
        timer: StageTimer | None = None,
    ) -> None:
        """As for `Reconstructor`; ``settings.between`` says which frames are keyframes."""
        self._observer = observe
        self._inner = Reconstructor(networks, settings, self._observe, intrinsics, largest_stride, timer)
        self.networks, self.settings, self.timer = networks, settings, self._inner.timer
        self._gate = KeyframeGate(settings.between)
        self._received = 0
        self._num_keyframes = 0
        self._waiting: deque[WaitingFrame] = deque()
        self._before: FinishedKeyframe | None = None
        """The last finished keyframe."""
        self._numbers: dict[int, int] = {}
        """Index of a keyframe among keyframes -> among all frames, for those that events may still name."""

    @property
    def stride(self) -> int | None:
        """Stride of windows, in keyframes; None until it is found."""
        return self._inner.stride

    @property
    def num_held(self) -> int:
        """Frames in memory."""
        return self._inner.num_held + len(self._waiting)

    @property
    def buffered_frames(self) -> tuple[int, ...]:
        """The buffering set, in order."""
        return tuple(self._numbers[frame] for frame in self._inner.buffered_frames)

    def change_stride(self, stride: int) -> None:
        """See `Reconstructor.change_stride`."""
        self._inner.change_stride(stride)

    def push(
        self, images: Tensor, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> list[RegisteredFrame]:
        """See `Reconstructor.push`."""
        return list(self.feed(images, timestamps, names))

    def feed(
        self, images: Tensor, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> Iterator[RegisteredFrame]:
        """See `Reconstructor.feed`."""
        self._inner.check(images)
        with self.timer("choose keyframes"):
            new = []
            for offset, image in enumerate(images.cpu()):
                index, picture = self._received, TrackedPicture.from_image(image)
                timestamp = float(index) if timestamps is None else float(timestamps[offset])
                name = str(index) if names is None else names[offset]
                sighting = self._gate.see(index, picture)
                # Own memory: a view would keep the whole batch alive for one frame.
                new.append(WaitingFrame(index, image.clone(), timestamp, name, picture, sighting))
                self._received += 1
        self._waiting.extend(new)
        return self._register([frame for frame in new if frame.sighting is None])

    def flush(self) -> list[RegisteredFrame]:
        """See `Reconstructor.flush`."""
        return list(self.drain())

    def drain(self) -> Iterator[RegisteredFrame]:
        """See `Reconstructor.drain`."""
        if self._waiting and self._waiting[-1].sighting is not None:
            self._waiting[-1] = replace(self._waiting[-1], sighting=None)
            yield from self._register([self._waiting[-1]])
        yield from self._settle(self._inner.drain())

    def state_dict(self) -> dict[str, Any]:
        """See `Reconstructor.state_dict`."""
        return {
            "keyframes": self._inner.state_dict(),
            "gate": self._gate.state_dict(),
            "received": self._received,
            "num_keyframes": self._num_keyframes,
            "numbers": {str(inner): index for inner, index in self._numbers.items()},
            "waiting": {str(frame.index): frame.state_dict() for frame in self._waiting},
            "before": None if self._before is None else self._before.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Reconstructor.load_state_dict`."""
        self._inner.load_state_dict(state["keyframes"])
        self._gate.load_state_dict(state["gate"])
        self._received, self._num_keyframes = state["received"], state["num_keyframes"]
        self._numbers = {int(inner): index for inner, index in state["numbers"].items()}
        waiting = [WaitingFrame.from_state(frame) for frame in state["waiting"].values()]
        self._waiting = deque(sorted(waiting, key=lambda frame: frame.index))
        self._before = None if state["before"] is None else FinishedKeyframe.from_state(state["before"])

    def _observe(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(renumbered(event, self._numbers))

    def _register(self, keyframes: Sequence[WaitingFrame]) -> Iterator[RegisteredFrame]:
        """Give keyframes to the reconstructor, at once; returns the frames that are finished then."""
        if not keyframes:
            return iter(())
        for frame in keyframes:
            self._numbers[self._num_keyframes] = frame.index
            self._num_keyframes += 1
        images = torch.stack([frame.image for frame in keyframes])
        times, names = [frame.timestamp for frame in keyframes], [frame.name for frame in keyframes]
        return self._settle(self._inner.feed(images, times, names))

    def _settle(self, keyframes: Iterator[RegisteredFrame]) -> Iterator[RegisteredFrame]:
        """Finished keyframes with the frames before each."""
        for registered in keyframes:
            keyframe = replace(registered, index=self._numbers[registered.index])
            between = []
            while self._waiting[0].index < keyframe.index:
                between.append(self._waiting.popleft())
            finished = FinishedKeyframe.of(keyframe, self._waiting.popleft().picture)
            for frame in between:
                with self.timer("place between"):
                    placed = self._place(frame, finished, keyframe)
                yield placed
            self._before = finished
            self._forget(registered.index)
            yield keyframe

    def _place(self, frame: WaitingFrame, after: FinishedKeyframe, keyframe: RegisteredFrame) -> RegisteredFrame:
        """A frame with its pose, and without a valid pixel."""
        before = self._before
        assert before is not None and frame.sighting is not None, "the first frame is a keyframe"
        sightings = frame.sighting, Sighting.of(after.anchor.index, after.picture, frame.picture)
        camera = keyframe.intrinsics.double().numpy()
        placed = place_between(
            frame.index, sightings, (before.anchor, after.anchor), _pinhole_rays(camera), 1 / float(camera[0, 0])
        )
        nowhere = torch.zeros(()).expand(keyframe.valid.shape)  # no memory of its own
        pose = placed.camera_to_world
        return RegisteredFrame(
            index=frame.index,
            name=frame.name,
            timestamp=frame.timestamp,
            image=frame.image,
            world_points=nowhere[..., None].expand(*nowhere.shape, 3),
            world_confidence=nowhere,
            valid=nowhere.bool(),
            local_points=None,
            local_confidence=nowhere,
            mean_confidence=min(before.mean_confidence, after.mean_confidence),
            local_mean_confidence=min(before.local_mean_confidence, after.local_mean_confidence),
            keyframe=False,
            status=placed.status,
            camera_to_world=None if pose is None else torch.from_numpy(pose).float(),
            intrinsics=keyframe.intrinsics,
            pose_inliers=placed.inliers,
            sightings=sightings,
        )

    def _forget(self, finished: int) -> None:
        """Drop the numbers of keyframes that no later event names: those of the buffering set, and of the frames that
        may still be offered to it, stay."""
        stride = self._inner.stride or 1
        offered = finished - stride * self.settings.buffer_interval - self.settings.frames_per_round(stride)
        kept = {*self._inner.buffered_frames, *(inner for inner in self._numbers if inner >= offered)}
        self._numbers = {inner: self._numbers[inner] for inner in sorted(kept)}


def _pinhole_rays(camera: NDArray[np.float64]) -> Rays:
    centre, focal = camera[:2, 2], camera.diagonal()[:2]
    return lambda pixels: (pixels - centre) / focal
