"""Looks of surfaces: textures, materials, and photographs in their place."""
