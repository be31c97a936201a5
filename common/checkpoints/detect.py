"""Detection of the family of a published checkpoint by its names.

The maps are data, one file per family in `common.checkpoints.families`. A map is a bijection between what it keeps and
our state dict; `tests/common/checkpoints` checks it against the published key lists.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.checkpoints.families.key_map import KeyMap
from common.checkpoints.families.slam3r import CROCO, DUST3R, SLAM3R_I2P, SLAM3R_L2W
from common.checkpoints.families.vggt import UNI3R, UNI3R_TEACHER, VGGT

__all__ = [
    "CROCO",
    "DUST3R",
    "SLAM3R_I2P",
    "SLAM3R_L2W",
    "UNI3R",
    "UNI3R_TEACHER",
    "VGGT",
    "KeyMap",
    "detect_key_map",
]


def detect_key_map(keys: Iterable[str]) -> KeyMap | None:
    """Family of a state dict by its names; None if the names are not of a published family.

    Order matters: SLAM3R and DUSt3R have the names of CroCo and some of their own.
    """
    keys = set(keys)

    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in keys)

    if has("vggt.aggregator."):
        return UNI3R
    if has("aggregator."):
        return VGGT
    if has("ponit_embedder."):
        return SLAM3R_L2W
    if has("mv_dec_blocks1."):
        return SLAM3R_I2P
    if has("downstream_head1.") and has("dec_blocks."):
        return DUST3R
    if has("dec_blocks.") and has("enc_blocks."):
        return CROCO
    return None
