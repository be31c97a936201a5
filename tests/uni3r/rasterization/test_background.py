"""The background shows where no Gaussian is."""

from __future__ import annotations

import pytest
import torch

from uni3r.rasterization import Rendering
from uni3r.rasterization.background import over_background


def test_the_mean_colour_of_the_context_shines_through() -> None:
    context = torch.rand(2, 3, 3, 4, 4)
    alpha = torch.tensor([0.0, 0.25, 1.0]).expand(2, 1, 1, 3)
    rendering = Rendering(0.5 * alpha[:, :, None].expand(2, 1, 3, 1, 3), None, alpha, alpha)
    image = over_background(rendering, context, "context_mean")
    mean = context.mean(dim=(1, 3, 4))
    torch.testing.assert_close(image[:, 0, :, 0, 0], mean)
    torch.testing.assert_close(image[:, 0, :, 0, 1], 0.125 + 0.75 * mean)
    torch.testing.assert_close(image[:, 0, :, 0, 2], torch.full((2, 3), 0.5))
    assert over_background(rendering, context, "black") is rendering.image
    with pytest.raises(ValueError, match="unknown background"):
        over_background(rendering, context, "white")  # type: ignore[arg-type]
