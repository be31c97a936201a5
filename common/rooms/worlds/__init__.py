"""Kinds of procedural scenes: rooms, floating objects, streets."""

from common.rooms.worlds.table import WORLDS, World

__all__ = ["WORLDS", "World"]
