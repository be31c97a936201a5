"""Training objectives learn on a scene that a tiny network can learn in seconds; windows arrive as they should."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from common.data.scenes.datamodule import EpochIndexed, RunningSampler, WindowData
from common.training.gradients import poison_if_not_finite
from common.training.optim import OptimizerConfig, build_optimizer
from common.views import Views
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.training.auxiliary import AuxiliaryHead
from slam3r.training.losses import Targets, camera_points, points_in_view, ray_loss, registration_inputs
from slam3r.training.objectives import CorrelationObjective, ImageToPointsObjective, LocalToWorldObjective
from slam3r.training.registration_noise import RegistrationNoise
from slam3r.training.retrieval_practice import RetrievalPractice
from tests.support.parity import assert_close, procedural_frames

SIZES = {"encoder_width": 32, "encoder_depth": 1, "encoder_heads": 2}
SIZES |= {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 2}
OPTIMIZER = OptimizerConfig(learning_rate=2e-3, min_learning_rate=2e-3, warmup_steps=0)
SIDE = 32

pytestmark = pytest.mark.filterwarnings("ignore:.*reference is not registered", "ignore:.*LeafSpec")


def wall(views: int = 5, batch: int = 2, distance: float = 2.0) -> Views:
    """A camera that turns and slides before a plane z = ``distance`` of the world; every fifth pixel has no depth.

    The left half is labelled 1, the right half 2.
    """
    index = torch.arange(batch * views, dtype=torch.float32).view(batch, views)
    yaw = 0.05 * (index % views)
    pose = torch.eye(4).repeat(batch, views, 1, 1)
    pose[..., 0, 0] = pose[..., 2, 2] = yaw.cos()
    pose[..., 0, 2], pose[..., 2, 0] = yaw.sin(), -yaw.sin()
    pose[..., 0, 3] = 0.1 * index
    intrinsics = torch.tensor([[30.0, 0, 15.5], [0, 30.0, 15.5], [0, 0, 1]]).repeat(batch, views, 1, 1)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    rays = torch.stack([(x - 15.5) / 30, (y - 15.5) / 30, torch.ones(SIDE, SIDE)], dim=-1)
    forward = (pose[:, :, None, None, 2, :3] * rays).sum(dim=-1)  # world z that one unit of depth covers
    depth = (distance / forward).masked_fill((x + y) % 5 == 0, 0)
    images = procedural_frames(batch * views, SIDE, SIDE).unflatten(0, (batch, views))
    labels = (1 + (x >= SIDE // 2).long()).expand(batch, views, SIDE, SIDE)
    return Views(images, depth, pose, intrinsics, labels)


class Walks:
    """Four scenes: the wall, painted anew for each."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Views:
        views = wall(batch=4)[index]
        views.images = procedural_frames(20, SIDE, SIDE)[5 * index : 5 * index + 5]
        return views

    def set_epoch(self, epoch: int) -> None:
        """The same in every epoch."""


def depth_of(views: Views) -> Tensor:
    assert views.depth is not None
    return views.depth


def learn(objective, views: Views, steps: int) -> list[float]:
    """Losses of steps on one batch."""
    optimizer, schedule = build_optimizer(objective, objective.optimizer_config, steps)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective.training_step(views, step)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


class TestTruth:
    """Targets of the networks on a scene with known geometry."""

    def test_the_wall_is_flat_in_the_world_of_every_view(self) -> None:
        views = wall()
        own = camera_points(views)
        assert torch.equal(own.valid, depth_of(views) > 0)
        for index in (0, 2):
            targets = points_in_view(views, index)
            assert_close(targets.points[:, index][own.valid[:, index]], own.points[:, index][own.valid[:, index]])
        z = points_in_view(views, 0).points[..., 2][
            own.valid
        ]  # view 0 of item 0 is the world; of item 1 it is parallel
        torch.testing.assert_close(z, torch.full_like(z, 2.0), rtol=1e-5, atol=1e-5)

    def test_depth_that_is_not_finite_is_invalid(self) -> None:
        views = wall()
        depth_of(views)[0, 0, 1, 1] = torch.inf
        depth_of(views)[0, 0, 1, 2] = torch.nan
        truth = camera_points(views)
        assert not truth.valid[0, 0, 1, 1:3].any() and truth.points.isfinite().all()

    def test_registration_has_unit_scale_and_its_world_at_the_dropped_view(self) -> None:
        inputs = registration_inputs(wall(), num_references=2)
        assert inputs.reference_points.shape[:2] == (2, 2) and inputs.source_points.shape[:2] == (2, 2)
        for points in (inputs.reference_points, *inputs.source_points.split(1, dim=1)):
            distance = points.norm(dim=-1)
            torch.testing.assert_close(distance.sum((1, 2, 3)) / (distance > 0).sum((1, 2, 3)), torch.ones(2))
        z = inputs.targets.points[..., 2][inputs.targets.valid].view(2, -1) * inputs.scale[:, None]
        torch.testing.assert_close(z, torch.full_like(z, 2.0), rtol=1e-5, atol=1e-5)


class TestObjectives:
    @pytest.mark.parametrize("min_views", [None, 3])
    def test_image_to_points_learns(self, min_views: int | None) -> None:
        objective = ImageToPointsObjective(ImageToPoints(**SIZES), OPTIMIZER, min_views=min_views)
        before = objective.terms(wall(), training=False)["regression"]
        losses = learn(objective, wall(), 12)
        after = objective.terms(wall(), training=False)["regression"]
        assert losses[-1] < losses[0] and after < 0.7 * before

    def test_far_points_do_not_count_beyond_the_largest_distance(self) -> None:
        objective = ImageToPointsObjective(ImageToPoints(**SIZES), OPTIMIZER, max_distance=1.9)
        terms = objective.terms(wall(), training=False)  # every point of the wall is farther than that
        assert terms["loss"] == 0 and terms["regression"] == 0

    def test_a_frozen_encoder_does_not_move(self) -> None:
        network = ImageToPoints(**SIZES)
        objective = ImageToPointsObjective(network, OPTIMIZER, frozen=["encoder"])
        before = {name: value.clone() for name, value in network.state_dict().items()}
        learn(objective, wall(), 2)
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert "decoder.token_norm.weight" in moved  # the norm belongs to the decoder, and trains: published
        assert not [name for name in moved if name.startswith("encoder.")]

    def test_a_second_task_learns_beside_and_is_no_part_of_the_model(self) -> None:
        network = ImageToPoints(**SIZES)
        objective = ImageToPointsObjective(network, OPTIMIZER, auxiliary=AuxiliaryHead(SIZES["encoder_width"]))
        before = objective.terms(wall(), training=False)
        learn(objective, wall(), 12)
        after = objective.terms(wall(), training=False)
        assert after["semantic"] < 0.8 * before["semantic"] and after["depth"] < before["depth"]
        assert not [name for name in network.state_dict() if "auxiliary" in name]

    def test_the_retrieval_practises_with_the_decoder_that_it_reads(self) -> None:
        network = ImageToPoints(**SIZES)
        practice = RetrievalPractice(Walks(), windows=2, queries=2, every=3)
        objective = ImageToPointsObjective(network, OPTIMIZER, retrieval=practice)
        assert [step for step in range(7) if practice.due(step)] == [0, 3, 6]
        assert "retrieval" not in objective.terms(wall(), training=False)
        objective.terms(wall(), training=True)["retrieval"].backward()
        moved = {name for name, value in network.named_parameters() if value.grad is not None}
        assert {"correlation_head.mlp.fc2.weight", "decoder.source_blocks.0.mlp.fc1.weight"} <= moved
        assert not [name for name in moved if name.startswith(("reference_head.", "source_head."))]

    def test_practice_tells_views_of_one_place_from_those_of_another(self) -> None:
        torch.manual_seed(0)
        network, practice = ImageToPoints(**SIZES), RetrievalPractice(Walks())
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            losses.append(practice.loss(network, step=0))
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.7 * losses[0]
        assert practice.loss(network, step=3) != practice.loss(network, step=0)  # other scenes
        assert practice.loss(network, step=3) == practice.loss(network, step=3)

    def test_an_error_of_the_lens_alone_counts_as_one_of_the_rays(self) -> None:
        truth = camera_points(wall(views=1))
        own = Targets(truth.points[:, 0], truth.valid[:, 0])
        assert ray_loss(3 * own.points, own) == pytest.approx(0, abs=1e-6)  # no matter how far
        wider = own.points * torch.tensor([1.1, 1.1, 1.0])
        assert ray_loss(wider, own) > 0.02
        network = ImageToPoints(**SIZES)
        with torch.no_grad():
            alone = ImageToPointsObjective(network, OPTIMIZER).terms(wall(), training=False)
            terms = ImageToPointsObjective(network, OPTIMIZER, rays=2.0).terms(wall(), training=False)
        assert_close(terms["loss"], alone["loss"] + 2 * terms["rays"])

    def test_a_blinded_network_sees_with_its_stem_alone(self) -> None:
        network = ImageToPoints(**SIZES, stem=True)
        objective = ImageToPointsObjective(network, OPTIMIZER, blinded=1.0)
        seen: list[torch.Tensor] = []
        forward = network.forward
        network.forward = lambda tokens, *rest: (seen.append(tokens), forward(tokens, *rest))[1]
        for training in (False, True):
            objective.terms(wall(), training=training)
        width = network.config.encoder_width
        assert seen[0][..., :width].any() and not seen[1][..., :width].any()

    def test_only_training_hides_patches(self) -> None:
        network = ImageToPoints(**SIZES)
        plain, hiding = (ImageToPointsObjective(network, OPTIMIZER, hidden=share) for share in (0.0, 1.0))
        with torch.no_grad():
            expected = plain.terms(wall(), training=False)["loss"]
            assert_close(hiding.terms(wall(), training=False)["loss"], expected)
            assert (hiding.terms(wall(), training=True)["loss"] - expected).abs() > 1e-4

    def test_correlation_learns_with_its_head_alone(self) -> None:
        network = ImageToPoints(**SIZES)
        losses = learn(CorrelationObjective(network, OPTIMIZER), wall(), 12)
        assert losses[-1] < 0.7 * losses[0]
        with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
        assert with_gradient == {name for name, _ in network.named_parameters() if name.startswith("correlation_head.")}

    @pytest.mark.parametrize(
        "options", [{}, {"min_views": 3, "noise": RegistrationNoise()}], ids=["published", "noisy"]
    )
    def test_local_to_world_learns_and_its_tokenizer_does_not(self, options: dict) -> None:
        tokenizer = ImageToPoints(**SIZES)
        objective = LocalToWorldObjective(LocalToWorld(**SIZES), tokenizer, OPTIMIZER, num_references=2, **options)
        # Without a trainer every step is step 0, with the same draws: one batch to learn by heart.
        before = objective.terms(wall(), training=True)["regression"]
        losses = learn(objective, wall(), 15)
        assert losses[-1] < losses[0]
        assert objective.terms(wall(), training=True)["regression"] < 0.8 * before
        assert not [name for name, p in tokenizer.named_parameters() if p.grad is not None or p.requires_grad]

    def test_validation_sees_the_same_noise_every_time(self) -> None:
        objective = LocalToWorldObjective(
            LocalToWorld(**SIZES), ImageToPoints(**SIZES), OPTIMIZER, num_references=2, noise=RegistrationNoise()
        )
        with torch.no_grad():
            first, second = (objective.terms(wall(), training=False)["loss"] for _ in range(2))
        assert torch.equal(first, second)

    def test_a_loss_that_is_not_finite_is_skipped_and_counted(self) -> None:
        objective = ImageToPointsObjective(ImageToPoints(**SIZES), OPTIMIZER)
        optimizer, _ = build_optimizer(objective, OPTIMIZER, 10)
        before = {name: value.clone() for name, value in objective.state_dict().items()}
        views = wall()
        views.images[0, 0, 0, 0, 0] = torch.nan
        for attempt in (1, 2):
            objective.training_step(views, 0).backward()
            objective.on_before_optimizer_step(optimizer)
            optimizer.step()
            assert objective.skipped_steps == objective.skipped_in_a_row == attempt
        assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
        objective.training_step(wall(), 0).backward()
        objective.on_before_optimizer_step(optimizer)
        assert (objective.skipped_steps, objective.skipped_in_a_row) == (2, 0)

    def test_an_infinite_loss_is_skipped_even_where_its_gradient_is_finite(self) -> None:
        weight = torch.ones(2, requires_grad=True)
        poison_if_not_finite(weight.sum() + torch.inf).backward()
        assert weight.grad.isnan().all()
        assert poison_if_not_finite(torch.tensor(3.0)) == 3

    @pytest.mark.parametrize("kind", ["points", "correlation", "registration"])
    def test_every_objective_draws_its_prediction(self, kind: str) -> None:
        network = ImageToPoints(**SIZES)
        objective = {
            "points": lambda: ImageToPointsObjective(network, OPTIMIZER),
            "correlation": lambda: CorrelationObjective(network, OPTIMIZER),
            "registration": lambda: LocalToWorldObjective(
                LocalToWorld(**SIZES), network, OPTIMIZER, num_references=2, with_references=False
            ),
        }[kind]()
        with torch.no_grad():
            (picture,) = objective.pictures(wall(batch=1)).values()
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.std() > 5


class TestRegistrationNoise:
    @pytest.fixture
    def inputs(self):
        return registration_inputs(wall(), num_references=2)

    def test_it_is_a_function_of_the_generator(self, inputs) -> None:
        first, second, other = (RegistrationNoise()(inputs, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(first.source_points, second.source_points)
        assert not torch.equal(first.source_points, other.source_points)

    def test_without_any_sigma_nothing_happens(self, inputs, generator) -> None:
        quiet = RegistrationNoise(range_sigma=0, reference_sigma=0, turn_probability=0)(inputs, generator)
        assert_close(quiet.reference_points, inputs.reference_points)
        assert_close(quiet.source_points, inputs.source_points)
        assert_close(quiet.targets.points, inputs.targets.points)

    def test_the_world_of_references_and_targets_moves_as_one(self, inputs, generator) -> None:
        moved = RegistrationNoise(range_sigma=0, reference_sigma=0, turn_probability=1)(inputs, generator)
        valid = inputs.targets.valid[:, :2]
        assert_close(moved.reference_points[valid], moved.targets.points[:, :2][valid])
        assert not torch.allclose(moved.targets.points, inputs.targets.points, atol=0.1)
        # A similarity: all distances grow by one factor per item.
        before, after = (
            (points[:, :, 0, 0] - points[:, :, -1, -1]).norm(dim=-1)
            for points in (inputs.targets.points.clone(), moved.targets.points)
        )
        ratio = after / before
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)

    def test_what_has_no_points_gets_none(self, inputs, generator) -> None:
        noisy = RegistrationNoise()(inputs, generator)
        assert not noisy.reference_points[~inputs.targets.valid[:, :2]].any()
        assert not noisy.source_points[inputs.source_points.norm(dim=-1) == 0].any()


class Numbered:
    """Windows that tell their epoch and number; also what `EpochDataset` asks for."""

    def __init__(self, length: int = 4) -> None:
        self.length, self.epoch = length, -1

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Views:
        window = wall(batch=1)[0]
        return replace(window, depth=depth_of(window) + 100 * self.epoch + index)


class TestWindows:
    def test_the_sampler_goes_on_where_it_stopped(self) -> None:
        sampler = RunningSampler(range(4), num_samples=6, seed=0)
        first, second = list(sampler), list(sampler)
        assert len(first) == len(second) == len(sampler) == 6
        indices = first + second
        for epoch in range(3):  # every epoch is a permutation of all items, whatever the passes of the loader
            part = indices[4 * epoch : 4 * epoch + 4]
            assert sorted(part) == [4 * epoch + item for item in range(4)]
        orders = [tuple(index % 4 for index in indices[start : start + 4]) for start in (0, 4, 8)]
        assert len(set(orders)) > 1

    def test_the_order_is_a_function_of_the_seed(self) -> None:
        orders = [list(RunningSampler(range(50), 60, seed)) for seed in (1, 1, 2)]
        assert orders[0] == orders[1] != orders[2]

    def test_ranks_share_the_order_of_one(self, monkeypatch) -> None:
        alone = list(RunningSampler(range(4), num_samples=6, seed=0))
        monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
        monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
        shares = []
        for rank in (0, 1):
            monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
            shares.append(list(RunningSampler(range(4), num_samples=6, seed=0)))
        assert [len(share) for share in shares] == [3, 3]
        assert sorted(shares[0] + shares[1]) == sorted(alone)

    def test_a_running_index_tells_epoch_and_item(self) -> None:
        data = Numbered()
        EpochIndexed(data)[9]
        assert data.epoch == 2
        assert torch.equal(depth_of(EpochIndexed(data)[9]), depth_of(data[1]))

    def test_batches_are_stacked_views(self) -> None:
        windows = WindowData(Numbered(), Numbered(), batch_size=2, epoch_windows=5, validation_windows=3, num_workers=0)
        batches = list(windows.train_dataloader())
        assert len(batches) == 2  # the fifth window does not fill a batch
        assert batches[0].images.shape == (2, 5, 3, SIDE, SIDE) and batches[0].depth.shape == (2, 5, SIDE, SIDE)
        assert batches[0].labels.dtype == torch.int64
        assert [len(batch.images) for batch in windows.val_dataloader()] == [2, 1]

    def test_validation_windows_are_always_the_same(self) -> None:
        windows = WindowData(Numbered(), Numbered(), batch_size=3, epoch_windows=8, num_workers=0)
        list(windows.train_dataloader())
        first, second = (torch.cat([batch.depth for batch in windows.val_dataloader()]) for _ in range(2))
        assert torch.equal(first, second) and len(first) == 4


def test_a_short_run_of_the_trainer(tmp_path) -> None:
    """The pieces fit into Lightning: loaders, schedule per step, clipped gradients, logged terms."""
    objective = ImageToPointsObjective(ImageToPoints(**SIZES), replace(OPTIMIZER, clip_norm=1e-3))
    windows = WindowData(Numbered(), Numbered(), batch_size=2, epoch_windows=4, validation_windows=2, num_workers=0)
    trainer = Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(objective, windows)
    assert trainer.global_step == 3
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    assert torch.nn.utils.get_total_norm(gradients) <= 1.001e-3 < trainer.callback_metrics["train/gradient_norm"]
    assert {"train/loss", "train/regression", "val/loss", "val/regression"} <= set(trainer.callback_metrics)
    assert all(math.isfinite(value) for value in trainer.callback_metrics.values())
