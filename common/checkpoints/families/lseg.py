"""Names of LSeg checkpoints (Li et al. 2022): ``demo_e200.ckpt``, and the copy inside Uni3R files."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.checkpoints.families.key_map import KeyMap

_WRAPPERS = ("", "net.", "lseg_feature_extractor.")
"""Prefixes of the network: bare, in the Lightning file, in a Uni3R file."""
_SIGN = "scratch.head1.weight"
"""A name that only LSeg has."""

LSEG_IMAGE = KeyMap(
    "LSeg image network",
    prefixes=(
        ("pretrained.model.cls_token", "encoder.class_token"),
        ("pretrained.model.pos_embed", "encoder.position_table.entries"),
        ("pretrained.model.patch_embed.proj.", "encoder.patch_embed.projection."),
        ("pretrained.model.blocks.", "encoder.blocks."),
        *(
            (f"pretrained.act_postprocess{level + 1}.{part}.", f"{ours}.{level}.")
            for level in range(4)
            for part, ours in (("0.project.0", "readouts"), ("3", "body.projections"), ("4", "body.resizes"))
        ),
        *((f"scratch.layer{level + 1}_rn.", f"body.to_width.{level}.") for level in range(4)),
        *((f"scratch.refinenet{level + 1}.", f"body.fusions.{level}.") for level in range(4)),
        ("scratch.head1.", "head."),
    ),
    parts=(
        (".norm1.", ".self_norm."),
        (".norm2.", ".mlp_norm."),
        (".attn.proj.", ".self_attention.projection."),
        (".attn.", ".self_attention."),
        (".resConfUnit1.", ".skip_unit."),
        (".resConfUnit2.", ".unit."),
        (".bn1.", ".norm1."),
        (".bn2.", ".norm2."),
        (".out_conv.", ".projection."),
    ),
    left_out=(
        r"clip_pretrained\.",  # the text tower has a map of its own
        r"pretrained\.model\.(norm|head)\.",  # features are taken before the norm; the classifier is ImageNet's
        r"scratch\.refinenet4\.resConfUnit1\.",  # the coarsest level has no skip, so its first unit never runs
    ),
)
LSEG_TEXT = KeyMap(
    "LSeg text tower (CLIP ViT-B/32)",
    prefixes=(("clip_pretrained.", ""),),
    parts=(),
    left_out=(
        r"clip_pretrained\.(visual\.|logit_scale$)",  # CLIP's image tower; the published scale is a constant, 1 / 0.07
        r"(pretrained|scratch)\.",  # the image network has a map of its own
    ),
)


def lseg_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Tensors of LSeg under their bare published names, from any file that holds them; None otherwise."""
    for wrapper in _WRAPPERS:
        if wrapper + _SIGN in state:
            return {key.removeprefix(wrapper): value for key, value in state.items() if key.startswith(wrapper)}
    return None
