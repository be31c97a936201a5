"""Exact nearest-neighbour distances on any device, without a compiled extension."""

from __future__ import annotations

import torch
from scipy.spatial import KDTree
from torch import Tensor

NUM_NEIGHBOURS = 3
BLOCK = 32
"""Consecutive points along the curve that are compared as one block."""
_PAIRS_AT_ONCE = 1 << 24
"""Distances held in memory at once on a GPU: 64 MiB."""
_CODE_BITS = 10


@torch.no_grad()
def mean_squared_neighbour_distance(points: Tensor) -> Tensor:
    """Mean of the squared distances to the three nearest other points; the initial size of Gaussians in 3DGS.

    Points at the same place count as neighbours at distance 0. No gradient passes.

    Args:
        points: (B, N, 3), N at least 4.

    Returns:
        (B, N), in the squared unit of the points.

    Raises:
        ValueError: for fewer than 4 points, or points that are not finite.
    """
    if points.shape[1] <= NUM_NEIGHBOURS:
        raise ValueError(f"three neighbours need at least {NUM_NEIGHBOURS + 1} points, got {points.shape[1]}")
    points = points.detach().float()
    if not bool(points.isfinite().all()):
        raise ValueError("neighbour distances: some points are not finite")
    nearest = _by_tree if points.device.type == "cpu" else _by_blocks
    return torch.stack([nearest(cloud).mean(dim=-1) for cloud in points])


def _by_tree(points: Tensor) -> Tensor:
    """(N, 3) to the squared distances (N, 3), by a k-d tree."""
    cloud = points.double().numpy()
    distances, _ = KDTree(cloud, leafsize=16, balanced_tree=False, compact_nodes=False).query(
        cloud, k=NUM_NEIGHBOURS + 1, workers=torch.get_num_threads()
    )
    # The first of the four is the point itself, or a coincident one.
    return torch.from_numpy(distances[:, 1:]).square().float()


def _by_blocks(points: Tensor) -> Tensor:
    """(N, 3) to the squared distances (N, 3), by blocks of points along a Morton curve, all in tensor operations.

    A block's own points bound the distance of its neighbours, so only blocks whose bounding boxes are closer are
    compared, point by point (the idea of the simple-knn extension of 3DGS, Kerbl et al. 2023).
    """
    order = _morton_codes(points).argsort()
    count = len(points)
    padding = -count % BLOCK
    # The last point fills the last block: boxes stay tight, and copies are masked below.
    indices = torch.cat([order, order[-1:].expand(padding)])
    blocks = points[indices].unflatten(0, (-1, BLOCK))
    is_copy = (torch.arange(count + padding, device=points.device) >= count).view(-1, BLOCK)
    low, high = blocks.amin(dim=1), blocks.amax(dim=1)

    bound = _bounds(blocks, is_copy)
    neighbours = torch.empty(len(blocks), BLOCK, NUM_NEIGHBOURS, device=points.device)
    rows_at_once = max(1, _PAIRS_AT_ONCE // len(blocks))
    for start in range(0, len(blocks), rows_at_once):
        rows = slice(start, start + rows_at_once)
        gap = torch.maximum(low[None] - high[rows, None], low[rows, None] - high[None]).clamp(min=0)
        near = gap.square().sum(dim=-1) <= bound[rows, None]
        neighbours[rows] = _compare(blocks, is_copy, near, start)
    result = torch.empty(count, NUM_NEIGHBOURS, device=points.device)
    result[order] = neighbours.flatten(0, 1)[:count]
    return result


def _bounds(blocks: Tensor, is_copy: Tensor) -> Tensor:
    """(M,) squared distance within which all three neighbours of a block's points lie: they do so in block and next."""
    wide = blocks if len(blocks) == 1 else torch.cat([blocks, blocks.roll(1, 0)], dim=1)
    copies = is_copy if len(blocks) == 1 else torch.cat([is_copy, is_copy.roll(1, 0)], dim=1)
    bounds = []
    for part, own, skip in zip(wide.split(1024), blocks.split(1024), copies.split(1024), strict=True):
        squared = _squared_distances(own, part).masked_fill(skip[:, None], torch.inf)
        bounds.append(squared.topk(NUM_NEIGHBOURS + 1, largest=False).values[..., -1].amax(dim=1))
    # Rounding must not exclude a block at exactly this distance.
    return torch.cat(bounds) * (1 + 1e-5)


def _compare(blocks: Tensor, is_copy: Tensor, near: Tensor, start: int) -> Tensor:
    """Three nearest of every point of the blocks from ``start`` on, among their ``near`` blocks (rows, M)."""
    counts = near.sum(dim=1)
    by_count = counts.argsort()  # group rows with similar numbers of candidates to reduce padding
    result = torch.empty(len(near), BLOCK, NUM_NEIGHBOURS, device=blocks.device)
    position = 0
    while position < len(by_count):
        rows, width = _batch_of_rows(by_count, counts, position)
        position += len(rows)
        candidates = near[rows].int().topk(width, dim=1)
        squared = _squared_distances(blocks[start + rows], blocks[candidates.indices].flatten(1, 2))
        skip = is_copy[candidates.indices] | (candidates.values == 0)[..., None]
        squared = squared.masked_fill(skip.flatten(1)[:, None], torch.inf)
        result[rows] = squared.topk(NUM_NEIGHBOURS + 1, largest=False).values[..., 1:]
    return result


def _batch_of_rows(by_count: Tensor, counts: Tensor, position: int) -> tuple[Tensor, int]:
    """Next rows in order of their number of candidates, as many as fit, and the largest number among them."""
    cost = BLOCK * BLOCK * int(counts[by_count[position]])
    rows = by_count[position : position + max(1, _PAIRS_AT_ONCE // (2 * cost))]
    width = int(counts[rows[-1]])
    fitting = max(1, _PAIRS_AT_ONCE // (BLOCK * BLOCK * width))
    rows = rows[:fitting]
    return rows, int(counts[rows[-1]])


def _squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """(M, P, 3) and (M, Q, 3) to (M, P, Q), by differences: expanding the square would lose half of the digits."""
    squared = points.new_zeros(len(points), points.shape[1], others.shape[1])
    for axis in range(3):
        squared += (points[..., axis, None] - others[:, None, :, axis]).square()
    return squared


def _morton_codes(points: Tensor) -> Tensor:
    """(N, 3) to (N,) int64: the bits of the three coordinates, interleaved."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    cells = (points - low) / (high - low).clamp(min=1e-30) * (2**_CODE_BITS - 1)
    cells = cells.long().clamp(0, 2**_CODE_BITS - 1)
    codes = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for bit in range(_CODE_BITS):
        for axis in range(3):
            codes |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return codes
