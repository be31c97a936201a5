"""`rigid_registration`: the shape of the local pointmap, placed as a whole by the network and by its neighbours."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from common.backbone import PatchGrid, ViewStart
from common.backbone.attention import Memory
from common.geometry.transforms import apply_transform, invert, make_transform
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor
from slam3r.reconstruction.frames import FrameInput, RegisteredFrame, WorldPointmap
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.placement.neighbour_votes import registered_neighbours, votes_of_neighbours
from slam3r.reconstruction.placement.rigid import place, whole_shapes
from slam3r.reconstruction.placement.votes import votes_of_network
from tests.support.parity import fill

SETTINGS = ReconstructionSettings(rigid_registration=True, rigid_neighbours=3, window_batch=2)


def similarity(scale: float, degrees: float, translation: list[float]) -> Tensor:
    """Turn about the vertical axis."""
    angle = torch.tensor(degrees).deg2rad()
    sine, cosine = angle.sin().item(), angle.cos().item()
    rotation = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return make_transform(scale * rotation, torch.tensor(translation))


def pointmaps(count: int, seed: int = 0) -> Tensor:
    """(F, 16, 20, 3) in front of a camera."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 16, 20, 3, generator=generator) + torch.tensor([0.0, 0, 1])


def everywhere(local: Tensor) -> Tensor:
    """(F, H, W) a mask without a gap."""
    return torch.ones(local.shape[:3], dtype=torch.bool)


def placed(local: Tensor, world: Tensor, confidence: Tensor, valid: Tensor | None = None) -> Tensor:
    """By the network alone."""
    valid = everywhere(local) if valid is None else valid
    return place(local, world, valid.flatten(1).any(dim=1), [votes_of_network(local, world, confidence, valid)])


class TestNetworkVotes:
    def test_noise_goes_and_the_place_stays(self) -> None:
        local = pointmaps(2)
        poses = torch.stack([similarity(1.4, 40, [0.3, 0.1, -2]), similarity(0.7, -100, [1, 0, 0.5])])
        truth = apply_transform(poses, local)
        noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(9))
        moved = placed(local, noisy, torch.full((2, 16, 20), 5.0))
        error, before = (moved - truth).norm(dim=-1).mean(), (noisy - truth).norm(dim=-1).mean()
        assert error < before / 4

    def test_points_without_confidence_do_not_vote(self) -> None:
        local = pointmaps(1, 1)
        truth = apply_transform(similarity(1.2, 25, [0.0, 0.2, 1])[None], local)
        world, confidence = truth.clone(), torch.full((1, 16, 20), 5.0)
        world[:, :7], confidence[:, :7] = 100.0, 1.0
        torch.testing.assert_close(placed(local, world, confidence), truth, rtol=0, atol=1e-4)

    def test_pixels_that_the_network_was_not_shown_do_not_vote(self) -> None:
        local = pointmaps(1, 2)
        truth = apply_transform(similarity(1.0, 10, [0.0, 0, 0])[None], local)
        world, valid = truth.clone(), everywhere(local)
        world[:, :4], valid[:, :4] = 7.0, False
        torch.testing.assert_close(placed(local, world, torch.ones(1, 16, 20), valid), truth, rtol=0, atol=1e-4)

    def test_a_frame_without_a_local_pointmap_stays_as_it_is(self) -> None:
        local, world = pointmaps(1, 2), pointmaps(1, 3)
        assert torch.equal(placed(local, world, torch.ones(1, 16, 20), ~everywhere(local)), world)


class TestNeighbourVotes:
    """Frames whose poses are known, a window decoder that sees them exactly, and a network that is wrong."""

    POSES = torch.stack([similarity(1.0, 6.0 * i, [0.1 * i, 0.0, 0.02 * i]) for i in range(6)])

    def store(self, registered: int) -> FrameStore:
        """Tokens are the frame's number; frames up to ``registered`` are in the world."""
        store = FrameStore()
        for i, points in enumerate(pointmaps(6)):
            store.inputs[i] = FrameInput(torch.full((1, 1), float(i)), torch.zeros(3, 16, 20), float(i), str(i))
            if i < registered:
                world = apply_transform(self.POSES[i], points)
                store.world[i] = WorldPointmap(world, torch.full((16, 20), 5.0), everywhere(world[None])[0], 5.0)
        return store

    def windows(self, unit: float) -> SimpleNamespace:
        """I2P: all pointmaps of a window in the camera of its first frame, in a unit of its own."""

        def start(tokens: Tensor, grid: PatchGrid) -> ViewStart:
            return ViewStart(tokens[None], tokens[None], Memory(tokens[None], tokens[None]))

        def decode(references: Tensor, sources: ViewStart, grid: PatchGrid) -> Pointmaps:
            frames = torch.cat([references[:, None], sources.tokens], dim=1)[..., 0, 0].long()
            world = apply_transform(self.POSES[frames], pointmaps(6)[frames])
            seen = unit * apply_transform(invert(self.POSES[frames[:, :1]]), world)
            return Pointmaps(seen, torch.full(seen.shape[:-1], 3.0))

        return SimpleNamespace(start_sources=start, neighbour_pointmaps=decode)

    def test_they_outvote_a_network_that_is_wrong(self) -> None:
        frames, local = [4, 5], 2.5 * pointmaps(6)[4:]
        truth = apply_transform(self.POSES[4:], pointmaps(6)[4:])
        wrong = apply_transform(similarity(0.8, 50, [2.0, 0, 0]), truth)
        votes = votes_of_neighbours(frames, local, 1, self.store(4), PatchGrid(1, 1), self.windows(0.4), SETTINGS)
        network = votes_of_network(local, wrong, torch.full((2, 16, 20), 9.0), everywhere(local))
        moved = place(local, wrong, torch.ones(2, dtype=torch.bool), [network, votes])
        torch.testing.assert_close(moved, truth, rtol=0, atol=5e-3)

    def test_a_frame_without_neighbours_is_left_to_the_network(self) -> None:
        local = pointmaps(6)[4:5]
        world = apply_transform(similarity(1.3, 20, [0.0, 1, 0]), local)
        votes = votes_of_neighbours([4], local, 1, self.store(0), PatchGrid(1, 1), self.windows(1.0), SETTINGS)
        network = votes_of_network(local, world, torch.ones(1, 16, 20), everywhere(local))
        moved = place(local, world, torch.ones(1, dtype=torch.bool), [network, votes])
        torch.testing.assert_close(moved, world, rtol=0, atol=1e-4)

    def test_who_they_are(self) -> None:
        store = self.store(5)
        assert registered_neighbours(5, 1, store, SETTINGS) == [4, 3, 2]
        assert registered_neighbours(5, 2, store, SETTINGS) == [3, 1]  # a keyframe stride apart, as windows are
        del store.world[3], store.inputs[1]
        assert registered_neighbours(5, 2, store, SETTINGS) == [4, 2, 0]  # for want of them, the nearest
        store.world[4].mean_confidence = 1.0
        assert registered_neighbours(5, 1, store, replace(SETTINGS, buffer_confidence=2.0)) == [2]  # a loss at 4
        assert registered_neighbours(9, 1, store, SETTINGS) == []  # too long ago


def test_whole_shapes_fill_in_what_was_masked() -> None:
    raw = pointmaps(2)
    normalized = raw / torch.tensor([2.0, 4.0])[:, None, None, None]
    masked, valid = normalized.clone(), everywhere(raw)
    masked[:, :8], valid[:, :8] = 0, False
    torch.testing.assert_close(whole_shapes(raw, masked, valid), normalized)
    assert (whole_shapes(raw, torch.zeros_like(raw), ~everywhere(raw)) == 0).all()


class TestInTheMachine:
    @pytest.fixture(scope="class")
    def networks(self) -> Networks:
        width, heads = {"encoder_width": 32, "decoder_width": 32}, {"encoder_heads": 2, "decoder_heads": 2}
        sizes = {**width, **heads, "encoder_depth": 1, "decoder_depth": 2}
        return Networks(fill(ImageToPoints(**sizes), "i2p"), fill(LocalToWorld(**sizes), "l2w", "l2w/"))

    def run(self, networks: Networks, chunk: int, **changes) -> tuple[list[RegisteredFrame], int]:
        """All frames, and the most held at once."""
        settings = ReconstructionSettings(
            keyframe_stride=2, window_radius=2, initial_window=3, num_scene_frames=3, buffer_size=5,
            initial_confidence=0, look_ahead=1, rigid_registration=True, rigid_neighbours=3, rigid_tracks=True,
            **changes,
        )  # fmt: skip
        machine = Reconstructor(networks, settings)
        images = torch.rand(60, 3, 32, 32, generator=torch.Generator().manual_seed(5)).cumsum(0).sin()
        frames, held = [], 0
        for start in range(0, len(images), chunk):
            frames += machine.push(images[start : start + chunk])
            held = max(held, machine.num_held if start > 30 else 0)
        return frames + machine.flush(), held

    def test_batches_and_pushes_change_nothing(self, networks: Networks) -> None:
        one_by_one, at_once = self.run(networks, 1)[0], self.run(networks, 60, window_batch=1)[0]
        assert len(one_by_one) == 60
        points = (torch.stack([frame.world_points for frame in frames]) for frames in (one_by_one, at_once))
        torch.testing.assert_close(*points, rtol=1e-3, atol=1e-3)

    def test_the_shape_decides_how_sure_a_point_is_and_the_place_where_a_frame_is_lost(
        self, networks: Networks
    ) -> None:
        sure, _ = self.run(networks, 60, weak_confidence=0.0)
        lost, _ = self.run(networks, 60, weak_confidence=1e9)
        for one, other in zip(sure[5:], lost[5:], strict=True):  # after those that founded the world
            assert torch.equal(one.world_confidence, one.local_confidence)
            bound = torch.tensor(other.mean_confidence, dtype=torch.float32)
            torch.testing.assert_close(other.world_confidence, one.local_confidence.minimum(bound))

    def test_state_stays_bounded(self, networks: Networks) -> None:
        assert self.run(networks, 1)[1] <= 5 + 3 * 2 + 2 * 2 + 2 + 2
