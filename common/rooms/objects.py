"""Pieces of furniture of a procedural room, each with its upright box: the truth about objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from common.geometry.boxes import Box, fit_box
from common.rooms.primitives import BED, CHAIR, SOFA, TABLE, Room

FURNITURE = (CHAIR, TABLE, SOFA, BED)
"""Classes whose pieces are told apart; "other" is everything else, and wall, floor and ceiling are no pieces."""
_TOUCHING = 0.03
"""Metres between parts of one piece, at most."""


@dataclass(frozen=True)
class FurniturePiece:
    """One piece."""

    label: int
    box: Box
    """In the frame of the room, metres."""


def furniture_pieces(room: Room) -> list[FurniturePiece]:
    """All chairs, tables, sofas and beds: parts of one class that touch each other are one piece."""
    corners = room.primitives.corners().double().numpy()
    labels = room.surfaces.label[room.primitives.surface].numpy()
    pieces = []
    for label in FURNITURE:
        own = np.flatnonzero((labels == label) & (np.arange(len(labels)) > 0))  # primitive 0 is the shell
        if len(own) == 0:
            continue
        low, high = corners[own].min(axis=1) - _TOUCHING / 2, corners[own].max(axis=1) + _TOUCHING / 2
        touch = ((low[:, None] <= high[None]) & (high[:, None] >= low[None])).all(axis=-1)
        count, group = connected_components(coo_array(touch), directed=False)
        for number in range(count):
            box = fit_box(corners[own[group == number]].reshape(-1, 3), (0.0, 0.0, 1.0))
            pieces.append(FurniturePiece(label, box))
    return pieces
