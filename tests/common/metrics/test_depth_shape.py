"""Smoothness of planes and sharpness of edges, on a slanted floor with a box before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.metrics.depth_shape import edge_score, surface_roughness


def floor_and_box() -> Tensor:
    """A slanted plane that recedes from 2 to 4 m, and a box at 1.5 m before its middle."""
    depth = 1 / torch.linspace(1 / 4, 1 / 2, 64)[:, None].repeat(1, 64)
    depth[24:40, 24:40] = 1.5
    return depth


def steps(depth: Tensor, side: int = 16) -> Tensor:
    """The depth in patches, each at its mean: what a head without smoothing does at its worst."""
    coarse = torch.nn.functional.avg_pool2d(depth[None], side)[0]
    return coarse.repeat_interleave(side, 0).repeat_interleave(side, 1)


def test_a_plane_is_smooth_whatever_its_slant_and_unit() -> None:
    truth = floor_and_box()
    assert surface_roughness(3 * truth, truth) < 1e-5
    assert surface_roughness(steps(truth), truth) > 1e-3
    noisy = truth * (1 + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)))
    assert surface_roughness(noisy, truth) > 0.01


def test_edges_count_where_they_are_found_again() -> None:
    truth = floor_and_box()
    assert edge_score(3 * truth, truth) == 1
    assert edge_score(truth.roll(6, dims=1), truth) < 0.7
    assert edge_score(torch.full_like(truth, 2.0), truth) == 0
    assert math.isnan(edge_score(truth, torch.full_like(truth, 2.0)))


def test_unknown_depth_is_not_judged() -> None:
    truth = floor_and_box()
    hole = truth.clone()
    hole[20:44, 20:44] = 0
    assert math.isnan(edge_score(truth, hole))
    assert surface_roughness(truth, hole) < 1e-5
