"""Rendering Gaussians: one call, gsplat on CUDA and our own tiles on the CPU."""

from uni3r.rasterization.dispatch import rasterize
from uni3r.rasterization.rendering import RasterizationSettings, Rendering

__all__ = ["RasterizationSettings", "Rendering", "rasterize"]
