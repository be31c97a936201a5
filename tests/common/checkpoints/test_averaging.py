"""The average of two sets of weights."""

import pytest
import torch

from common.checkpoints.averaging import averaged
from common.errors import CheckpointError
from slam3r.models import ImageToPoints

SIZES = {"encoder_width": 32, "encoder_depth": 1, "encoder_heads": 2}
SIZES |= {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 2}


def test_every_parameter_lies_between_both() -> None:
    first, second = ImageToPoints(**SIZES), ImageToPoints(**SIZES)
    start = {name: value.clone() for name, value in first.state_dict().items()}
    result = averaged(first, second, 0.25).state_dict()
    for name, value in second.state_dict().items():
        torch.testing.assert_close(result[name], 0.75 * start[name] + 0.25 * value)


def test_other_networks_are_refused() -> None:
    with pytest.raises(CheckpointError, match="only weights of one network can be averaged"):
        averaged(ImageToPoints(**SIZES), ImageToPoints(**{**SIZES, "decoder_width": 64}))
    with pytest.raises(CheckpointError, match="only weights of one network"):
        averaged(ImageToPoints(**SIZES), ImageToPoints(**SIZES, stem=True))
