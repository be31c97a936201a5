"""Photographic augmentation: the same for the same draw, one camera per window, and nothing without strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.data.scenes.camera_jitter import CameraJitter

OFF = CameraJitter(
    exposure=0,
    exposure_per_view=0,
    contrast=0,
    white_balance=0,
    saturation=0,
    blur=0,
    motion=0,
    shrink=1,
    noise=0,
    jpeg=(100, 100),
)


def window(views: int = 2) -> list[np.ndarray]:
    rows = np.linspace(20, 230, 48)[:, None, None]
    return [np.broadcast_to(rows + [0, 8, 16], (48, 64, 3)).clip(0, 255).astype(np.uint8).copy() for _ in range(views)]


def test_the_same_draw_gives_the_same_pictures() -> None:
    first, again, other = (CameraJitter()(window(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (48, 64, 3) and first[0].dtype == np.uint8


def test_no_strength_changes_next_to_nothing() -> None:
    for seed in range(8):
        for before, after in zip(window(), OFF(window(), np.random.default_rng(seed)), strict=True):
            assert np.abs(before.astype(int) - after).max() <= 4


def test_a_window_keeps_one_white_balance() -> None:
    jitter = replace(OFF, white_balance=0.3)
    first, second = jitter(window(), np.random.default_rng(3))
    assert not np.array_equal(first, window()[0])
    assert np.abs(first.astype(int) - second).max() <= 1


def test_exposure_keeps_order_and_spares_black() -> None:
    jitter = replace(OFF, exposure=0.35, exposure_per_view=0.1, contrast=0.25)
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    for seed in range(8):
        (changed,) = jitter([ramp], np.random.default_rng(seed))
        assert changed[16, 0].max() <= 4 and (np.diff(changed[16, :, 1].astype(int)) >= -3).all()
