"""Furnishing of rooms: furniture, fittings, and the things of a household."""
