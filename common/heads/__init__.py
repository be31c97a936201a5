"""Per-pixel heads: tokens to points and confidences."""

from common.heads.activations import activate_confidence, activate_points
from common.heads.dpt import DPTHead
from common.heads.linear import LinearHead

__all__ = ["DPTHead", "LinearHead", "activate_confidence", "activate_points"]
