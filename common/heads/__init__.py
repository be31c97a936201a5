"""Per-pixel heads: tokens to points and confidences."""

from common.heads.activations import activate_confidence, activate_points
from common.heads.dpt import DPTBody
from common.heads.dpt_head import DPTFeatures, DPTHead, dpt_levels
from common.heads.linear import LinearHead
from common.heads.smoothed import SmoothedLinearHead

__all__ = [
    "DPTBody",
    "DPTFeatures",
    "DPTHead",
    "LinearHead",
    "SmoothedLinearHead",
    "activate_confidence",
    "activate_points",
    "dpt_levels",
]
