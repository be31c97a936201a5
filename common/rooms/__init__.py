"""Procedural indoor rooms with exact geometry."""

from common.rooms.degradation import Degradation
from common.rooms.primitives import LABEL_NAMES
from common.rooms.sequence import SPLITS, room_seed, room_sequence, room_video

__all__ = ["LABEL_NAMES", "SPLITS", "Degradation", "room_seed", "room_sequence", "room_video"]
