"""The reconstructor: frames in, registered frames out. Offline, live, service, app and evaluation drive it.

SLAM3R, Liu, Dong et al., CVPR 2025, section 3.4, as a stream. A frame's window reaches ``look_ahead`` frames beyond
it; with ``window_radius * stride`` (the default) the results, random draws included, are those of the published
offline pipeline. State is bounded: tokens of the window and of the buffering set, world pointmaps of the buffering
set and of the current stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from common.backbone import PatchGrid
from common.meters import StageTimer
from slam3r.reconstruction.events import Initialized, Observer, Registered
from slam3r.reconstruction.finishing import finish_frame
from slam3r.reconstruction.frames import FrameInput, RegisteredFrame
from slam3r.reconstruction.initialization import initial_window, initialize
from slam3r.reconstruction.keyframes import find_stride
from slam3r.reconstruction.local_mapping import decode_windows, plan_windows
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.memory.progress import Progress
from slam3r.reconstruction.memory.random_state import load_random_state, random_state
from slam3r.reconstruction.memory.scene_buffer import BufferingSet
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.poses import PoseSolver
from slam3r.reconstruction.registration import adopt_initial_frames, register, rescale_initial_confidence
from slam3r.reconstruction.retrieval import chosen_queries, retrieve
from slam3r.reconstruction.settings import ReconstructionSettings

LOCAL_BATCHES = 8
"""Batches of windows planned at once; between two plans, what no later step reads is dropped."""


class Reconstructor:
    """Streaming reconstruction. ``push`` frames as they come, ``flush`` at the end; one scene per object."""

    def __init__(
        self,
        networks: Networks,
        settings: ReconstructionSettings | None = None,
        observe: Observer | None = None,
        intrinsics: Tensor | None = None,
        largest_stride: int | None = None,
        timer: StageTimer | None = None,
    ) -> None:
        """
        Args:
            networks: the two models; may be shared by many reconstructors.
            settings: hyper-parameters; published defaults where None.
            observe: called with every decision, in order.
            intrinsics: (3, 3) in network pixels where the camera is calibrated; estimated where None.
            largest_stride: upper bound for `change_stride`; tokens are kept for its windows.
            timer: for the seconds per stage; a new one where None.
        """
        self.networks = networks
        self.settings = settings or ReconstructionSettings()
        self.timer = timer or StageTimer(networks.device)
        """Seconds per stage."""
        self._observe: Observer = observe or (lambda event: None)
        self._random = np.random.RandomState(self.settings.seed)
        self._store = FrameStore()
        self._at = Progress(None if self.settings.keyframe_stride == -1 else self.settings.keyframe_stride)
        self._ended = False
        self._largest_stride = largest_stride or 0
        self._intrinsics = intrinsics
        # Created by the first push, by the initial window, and by the frames between its keyframes.
        self._grid: PatchGrid | None = None
        self._poses: PoseSolver | None = None
        self._founding: Initialized | None = None
        self._buffer: BufferingSet | None = None

    @property
    def stride(self) -> int | None:
        """Keyframe stride; None until it is found."""
        return self._at.stride

    @property
    def num_held(self) -> int:
        """Frames whose tokens are in memory; bounded once the stride is known."""
        return len(self._store.inputs)

    @property
    def buffered_frames(self) -> tuple[int, ...]:
        """The buffering set, in order."""
        return () if self._buffer is None else tuple(self._buffer.frames)

    def change_stride(self, stride: int) -> None:
        """Use another stride for the frames that have no window yet: the camera moves faster or slower than before.

        Raises:
            ValueError: for a stride below 1.
            RuntimeError: before the world is initialized, or after `flush`.
        """
        if stride < 1:
            raise ValueError(f"a stride is at least 1, got {stride}")
        if self._buffer is None or self._ended:
            raise RuntimeError("the stride can change only between initialization and the end of the sequence")
        if stride != self.stride:
            self._at.stride, self._buffer.stride = stride, stride
            self._at.stride_since = self._at.next_local

    def push(
        self, images: Tensor, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> list[RegisteredFrame]:
        """Take the next frames of the sequence and register what can be. `feed` does the same one frame at a time.

        Args:
            images: (F, 3, H, W) float32 in [-1, 1]; all frames of a sequence have one size.
            timestamps: seconds; the frame's number where None.
            names: names for the outputs; the frame's number where None.

        Returns:
            Frames finished since the last call, in order.

        Raises:
            ValueError: for images of another shape or size than before.
            RuntimeError: after `flush`.
        """
        return list(self.feed(images, timestamps, names))

    def feed(
        self, images: Tensor, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> Iterator[RegisteredFrame]:
        """Take the next frames as `push` does, and yield every frame as soon as it is finished.

        The iterator must be exhausted before the next call.
        """
        self.check(images)
        with self.timer("encode"):
            tokens, self._grid = self.networks.encode(images, self.settings.encode_batch)
        for offset, (token, image) in enumerate(zip(tokens, images.cpu(), strict=True)):
            index = self._at.received
            timestamp = float(index) if timestamps is None else float(timestamps[offset])
            name = str(index) if names is None else names[offset]
            # Own memory: a view would keep the whole batch alive for one buffered frame.
            self._store.inputs[index] = FrameInput(token.clone(), image.clone(), timestamp, name)
            self._at.received += 1
        return self._advance()

    def check(self, images: Tensor) -> None:
        """Whether `feed` would take these images.

        Raises:
            ValueError: for images of another shape or size than before.
            RuntimeError: after `flush`.
        """
        if self._ended:
            raise RuntimeError("this reconstruction has been flushed; make a new Reconstructor for another sequence")
        if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
            raise ValueError(f"push takes images (frames, 3, height, width), got {tuple(images.shape)}")
        size = (images.shape[2], images.shape[3])
        if self._poses is None:
            self._poses = PoseSolver(self.settings, size, self._intrinsics)
        if size != self._poses.size:
            raise ValueError(f"all frames of a sequence have one size: expected {self._poses.size}, got {size}")

    def flush(self) -> list[RegisteredFrame]:
        """Register the rest of a sequence that is over. `drain` does the same one frame at a time.

        Raises:
            SequenceTooShort: if not even the initial window is full.
        """
        return list(self.drain())

    def drain(self) -> Iterator[RegisteredFrame]:
        """Register the rest of a sequence that is over, and yield every frame as soon as it is finished.

        Memory stays bounded however many frames are left, which after a stride search are all of them.

        Raises:
            SequenceTooShort: if not even the initial window is full.
        """
        self._ended = True
        yield from self._advance()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes as frames come: tensors (not copied) and plain values, nested by name.

        Networks, settings and given intrinsics are not in it: `load_state_dict` is for a reconstructor of the same.

        Raises:
            RuntimeError: after `flush`.
        """
        if self._ended:
            raise RuntimeError("a flushed reconstructor cannot be resumed")
        founding = self._founding
        return {
            "progress": asdict(self._at),
            "random": random_state(self._random),
            "frames": self._store.state_dict(),
            "grid": None if self._grid is None else [self._grid.height, self._grid.width],
            "poses": None if self._poses is None else self._poses.state_dict(),
            "founding": None if founding is None else [list(founding.frames), founding.reference],
            "buffer": None if self._buffer is None else self._buffer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring a new reconstructor, of the same networks and settings, to where `state_dict` was taken.

        Raises:
            KeyError, ValueError, TypeError: the state is incomplete or not one.
        """
        self._at = Progress(**state["progress"])
        load_random_state(self._random, state["random"])
        self._store.load_state_dict(state["frames"], self.networks.device)
        if state["grid"] is not None:
            self._grid = PatchGrid(*state["grid"])
        if state["poses"] is not None:
            height, width = state["poses"]["size"]
            self._poses = PoseSolver(self.settings, (height, width))
            self._poses.load_state_dict(state["poses"])
        if state["founding"] is not None:
            frames, reference = state["founding"]
            self._founding = Initialized(tuple(frames), reference)
        if state["buffer"] is not None:
            self._buffer = BufferingSet([], 1, 0, self.settings, self._random)
            self._buffer.load_state_dict(state["buffer"])

    def _advance(self) -> Iterator[RegisteredFrame]:
        """Run all steps that the available frames allow, in the order of the algorithm."""
        if self._at.stride is None:
            self._at.stride = self._search_stride()
            if self._at.stride is None:
                return
        if self._founding is None:
            self._founding = self._found_world(self._at.stride)
            if self._founding is None:
                return
        size = self.settings.frames_per_round(self._at.stride)
        moved = True
        while moved:
            first = self._at.next_local
            for _ in self._make_local_pointmaps(self._at.stride, self._founding):
                if self._buffer is None:
                    if self._at.next_local <= self._founding.frames[-1]:
                        continue
                    self._buffer = self._register_head(self._at.stride, self._founding)
                    yield from (self._finish(frame) for frame in range(self._at.next_frame))
                while self._round_ready(size):
                    yield from self._register_round(size, self._buffer)
            if self._buffer is not None:
                self._forget(self._at.stride, self._buffer)
            moved = self._at.next_local > first

    def _forget(self, stride: int, buffer: BufferingSet) -> None:
        """Drop the frames that no later step reads."""
        stride = max(stride, self._largest_stride)
        # Rigid placement reads tokens and registered points of neighbours.
        placing = self._at.next_frame - max(self.settings.rigid_neighbours, self.settings.strides_tracked) * stride
        offered = min(placing, buffer.milestone)
        needed = min(self._at.next_local - self.settings.window_radius * stride, offered)
        self._at.first_held = max(self._at.first_held, needed)
        self._store.forget(needed, offered, buffer.frames)

    def _search_stride(self) -> int | None:
        wanted = self.settings.stride_search_frames
        if not self._ended and (wanted is None or self._at.received < wanted):
            return None
        looked_at = self._at.received if wanted is None else min(wanted, self._at.received)
        tokens = [self._store.inputs[index].tokens for index in range(looked_at)]
        with self.timer("stride search"):
            return find_stride(tokens, self._patch_grid, self.networks, self.settings, self._random, self._observe)

    def _found_world(self, stride: int) -> Initialized | None:
        window = initial_window(self._at.received, self._ended, stride, self.settings)
        if window is None:
            return None
        tokens = {index: self._store.inputs[index].tokens for index in range(0, window * stride, stride)}
        with self.timer("initialization"):
            scene = initialize(tokens, self._patch_grid, stride, window, self.networks, self.settings, self._observe)
        adopt_initial_frames(scene, self._store)
        return Initialized(tuple(scene.frames), scene.reference)

    def _make_local_pointmaps(self, stride: int, founding: Initialized) -> Iterator[None]:
        """Decode the next frames whose look-ahead is complete, some batches at most. Yields after every batch, so that
        frames are registered in between, and once at the end."""
        look_ahead = self.settings.look_ahead
        look_ahead = self.settings.window_radius * stride if look_ahead is None else look_ahead
        last = self._at.received - 1
        end = self._at.received if self._ended else max(self._at.next_local, self._at.received - look_ahead)
        # In parts: after a stride search, every frame of the video is pending.
        end = min(end, self._at.next_local + LOCAL_BATCHES * self.settings.window_batch)
        frames = [frame for frame in range(self._at.next_local, end) if frame not in founding.frames]
        for windows in plan_windows(frames, stride, look_ahead, last, self.settings, self._at.first_held):
            with self.timer("local pointmaps"):
                decode_windows(windows, self._store, self._patch_grid, self.networks, self.settings)
            self._at.next_local = windows[-1][0] + 1
            yield
        self._at.next_local = end
        yield

    def _register_head(self, stride: int, founding: Initialized) -> BufferingSet:
        """Register the frames between the initial keyframes, each alone as published, and open the buffering set."""
        head = [frame for frame in range(founding.frames[-1]) if frame % stride]
        size = self.settings.min_frames_per_round
        groups = [head[first : first + size] for first in range(0, len(head), size)]
        with self.timer("registration"):
            register(groups, founding.frames, stride, self._store, self._patch_grid, self.networks, self.settings)
        # The world is the reference's camera frame, so its world pointmap is a camera pointmap too.
        seen = [self._store.local[frame] for frame in (founding.frames[founding.reference], *head)]
        if self._pose_solver.intrinsics is None:
            self._pose_solver.estimate_intrinsics([x.raw_points for x in seen], [x.confidence for x in seen])
        rescale_initial_confidence(founding.frames, head, self._store)
        self._at.next_frame = founding.frames[-1] + 1
        return BufferingSet(founding.frames, stride, self._at.next_frame, self.settings, self._random)

    def _round_ready(self, size: int) -> bool:
        end = self._at.next_frame + size
        if self._ended:
            end = min(end, self._at.received)
        return self._at.next_frame < end <= self._at.next_local

    def _register_round(self, size: int, buffer: BufferingSet) -> list[RegisteredFrame]:
        assert self._at.stride is not None, "frames are registered after the stride was found"
        frames = list(range(self._at.next_frame, min(self._at.next_frame + size, self._at.received)))
        queries, candidates = chosen_queries(frames, self.settings.retrieval_queries), tuple(buffer.frames)
        with self.timer("retrieval"):
            positions, scores = retrieve(
                queries,
                candidates,
                self.settings.num_scene_frames,
                self._store,
                self.networks,
                self._patch_grid,
                self.settings.window_batch,
            )
        selected = tuple(candidates[position] for position in positions)
        self._observe(Registered(candidates, tuple(queries), selected, None if scores is None else tuple(scores)))
        with self.timer("registration"):
            register([frames], selected, self._at.stride, self._store, self._patch_grid, self.networks, self.settings)
        self._at.next_frame = frames[-1] + 1
        finished = [self._finish(frame) for frame in frames]
        registered_means = {frame: world.mean_confidence for frame, world in self._store.world.items()}
        local_means = {frame: local.mean_confidence for frame, local in self._store.local.items()}
        for change in buffer.update(self._at.next_frame, registered_means, local_means):
            self._observe(change)
        return finished

    def _finish(self, index: int) -> RegisteredFrame:
        assert self._founding is not None
        keyframe, weak = self._at.is_keyframe(index), self.settings.weak_confidence
        with self.timer("pose"):
            return finish_frame(index, self._store, self._founding, self._pose_solver, keyframe, weak)

    @property
    def _patch_grid(self) -> PatchGrid:
        assert self._grid is not None, "nothing was pushed"
        return self._grid

    @property
    def _pose_solver(self) -> PoseSolver:
        assert self._poses is not None, "nothing was pushed"
        return self._poses
