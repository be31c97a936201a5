"""Procedural indoor rooms with exact geometry."""

from common.data.rooms.degradation import Degradation
from common.data.rooms.primitives import LABEL_NAMES
from common.data.rooms.sequence import SPLITS, room_seed, room_sequence, room_video

__all__ = ["LABEL_NAMES", "SPLITS", "Degradation", "room_seed", "room_sequence", "room_video"]
