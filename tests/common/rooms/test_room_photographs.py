"""Photographs and clutter in procedural rooms: surfaces show what they should; other rooms stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from common.errors import ConfigurationError
from common.rooms import Degradation, room_sequence
from common.rooms.camera_path import CLEARANCE
from common.rooms.layout import build_room
from common.rooms.looks.dressing import dressed
from common.rooms.looks.photographs import Photographs, check_photographs, cut_out, photograph_files
from common.rooms.looks.textures import COUNT, SIZE, extended_bank, texture_bank
from common.rooms.primitives import CEILING, FLOOR, OTHER, TABLE
from common.rooms.renderer import RoomRenderer

ROOM = 3
SUMS = ((3, 161, 586.996), (17, 114, 401.2004), ((1 << 30) + 5, 133, 403.2689))
"""Seeds, their numbers of primitives and the sums of the sizes of all coordinates of their centres."""
FAITHFUL = Degradation(exposure=0, white_balance=0, vignette=0, blur=0, noise=0)


def save(path: Path, color: Sequence[int]) -> Path:
    """A small photograph of one RGB colour, with some grain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(0).integers(-3, 4, (32, 32, 1))
    cv2.imwrite(str(path), (np.array(color[::-1]) + grain).clip(0, 255).astype(np.uint8))
    return path


def test_photographs_change_the_colours_and_nothing_else(tmp_path: Path) -> None:
    save(tmp_path / "red.png", (200, 40, 40))
    plain = room_sequence(ROOM, 2, 48)
    pictured = room_sequence(ROOM, 2, 48, photographs=Photographs(tmp_path))
    assert torch.equal(plain.depth, pictured.depth) and torch.equal(plain.camera_to_world, pictured.camera_to_world)
    assert (plain.images - pictured.images).abs().mean() > 0.02
    again = room_sequence(ROOM, 2, 48, photographs=Photographs(tmp_path))
    assert torch.equal(again.images, pictured.images)
    none = room_sequence(ROOM, 2, 48, photographs=Photographs(tmp_path, share=0.0))
    assert torch.equal(none.images, plain.images)


def test_a_floor_shows_the_colour_of_the_photograph_of_a_floor(tmp_path: Path) -> None:
    save(tmp_path / "parquet floor, tile, marble, fabric.png", (30, 60, 160))
    save(tmp_path / "plaster.png", (235, 235, 235))
    floors = []
    for seed in range(6):  # as cloth, a photograph may take on another colour
        room, bank = dressed(build_room(seed), Photographs(tmp_path, share=1.0), seed)
        views = room_sequence(seed, 2, 48)
        rendering = RoomRenderer(room, bank=bank).render(views.camera_to_world, views.intrinsics, (48, 48))
        pixels = rendering.radiance.permute(0, 2, 3, 1)[rendering.labels == FLOOR]
        if len(pixels) > 50:
            floors.append(bool((pixels[:, 2] > 2 * pixels[:, 0]).float().mean() > 0.9))
    assert len(floors) >= 3 and np.mean(floors) > 0.6


def test_ceilings_get_plaster_and_lamps_keep_their_glow(tmp_path: Path) -> None:
    save(tmp_path / "a" / "oak.jpg", (120, 80, 40))
    save(tmp_path / "b" / "white-plaster.PNG", (235, 235, 235))
    assert [sorted(file.families) for file in photograph_files(tmp_path)] == [["wood"], ["plaster"]]
    for seed in range(4):
        before = build_room(seed).surfaces
        after = dressed(build_room(seed), Photographs(tmp_path, share=1.0), seed)[0].surfaces
        glowing = (before.emission > 0.5) & (before.label == OTHER)
        assert torch.equal(before.texture[glowing], after.texture[glowing])
        assert (after.texture[after.label == CEILING] >= COUNT).any()


def test_a_window_shows_a_view_where_there_is_one(tmp_path: Path) -> None:
    save(tmp_path / "view of a garden.png", (40, 160, 40))
    surfaces = dressed(build_room(ROOM), Photographs(tmp_path, share=1.0), ROOM)[0].surfaces
    before = build_room(ROOM).surfaces
    window = (before.emission >= 1) & (before.colors[:, 0] != before.colors[:, 1]).any(-1)
    assert window.any() and (surfaces.texture[window] >= COUNT).all()


def test_a_bank_finds_its_photographs_at_every_level() -> None:
    colors = [(250, 0, 0), (0, 250, 0)]
    images = [np.full((SIZE, SIZE, 3), color, np.uint8) for color in colors]
    bank = extended_bank(texture_bank(), images)
    assert bank.starts[1] == (COUNT + 2) * SIZE**2
    for start, end in zip(bank.starts.tolist(), [*bank.starts[1:].tolist(), len(bank.texels)], strict=True):
        texels = bank.texels[start:end].view(torch.uint8).view(COUNT + 2, -1, 4)
        for image, color in zip(texels[COUNT:], colors, strict=True):
            assert (image[:, :3] == torch.tensor(color)).all()


def test_cut_outs_differ_and_repeat_without_a_step(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64)[None, :, None].repeat(64, 0).repeat(3, 2)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    rng = np.random.default_rng(0)
    first, second = (cut_out(tmp_path / "ramp.png", rng, 64, 30).astype(int) for _ in range(2))
    assert first.shape == (64, 64, 3) and np.abs(first - second).mean() > 1
    for image in (first, second):
        assert np.abs(image[:, 0] - image[:, -1]).max() < 40  # the whole ramp would step by 255


def test_folders_without_pictures_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none is not a folder"):
        check_photographs(tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"no PNG or JPEG files in"):
        check_photographs(tmp_path)
    save(tmp_path / "good.png", (1, 2, 3))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ConfigurationError, match=r"broken\.jpg is not a picture that can be read"):
        check_photographs(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_clutter_adds_things_that_keep_clear_of_the_camera(seed: int) -> None:
    plain, crowded = build_room(seed), build_room(seed, clutter=1.0)
    assert len(crowded.primitives.kind) > 1.3 * len(plain.primitives.kind)
    assert crowded.size == plain.size
    low, high = crowded.primitives.corners().amin(1), crowded.primitives.corners().amax(1)
    assert (low[1:, 2] > -0.05).all() and (high[1:, 2] < crowded.size[2] + 0.05).all()
    views = room_sequence(seed, 3, 16, clutter=1.0, degradation=FAITHFUL)
    assert crowded.primitives.clearance(views.camera_to_world[:, :3, 3]).min() > CLEARANCE - 1e-3


def test_a_room_without_clutter_is_the_room_of_before() -> None:
    """Sums of rooms as they were when the setting came; benchmarks rest on these rooms."""
    assert len(build_room(17, clutter=0.0).primitives.kind) == len(build_room(17).primitives.kind)
    for seed, primitives, center in SUMS:
        room = build_room(seed)
        assert len(room.primitives.kind) == primitives
        assert room.primitives.center.double().abs().sum().item() == pytest.approx(center, abs=1e-3)


def test_things_stand_on_tables() -> None:
    """Tables carry more with clutter: the share of their tops that something covers grows."""
    covered = []
    for clutter in (0.0, 1.0):
        count = 0
        for seed in range(12):
            room = build_room(seed, clutter=clutter)
            table, label = room.primitives, room.surfaces.label[room.primitives.surface]
            tops = torch.nonzero((label == TABLE) & (table.half_size[:, 2] < 0.03)).squeeze(1)
            bottom = table.center[:, 2] - table.half_size[:, 2]
            for top in tops.tolist():
                near = (table.center[:, :2] - table.center[top, :2]).abs().amax(1) < table.half_size[top, 0]
                above = (bottom - table.center[top, 2] - table.half_size[top, 2]).abs() < 0.02
                count += int((near & above & (label == OTHER)).sum())
        covered.append(count)
    assert covered[1] > 2 * covered[0]
