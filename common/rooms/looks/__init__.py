"""How surfaces look: textures, materials, and photographs in their place."""
