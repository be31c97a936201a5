"""Published checkpoint names to ours: key maps as data.

Each map is a list of (published, ours) name prefixes or whole names, tried in order, plus the names that are left out
on purpose. A map is a bijection between what it keeps and our state dict;
`tests/common/checkpoints/test_convert.py` checks it against the published key lists.

Sources of the names: CroCo v2, DUSt3R and SLAM3R checkpoints (see `NOTICE` for their licences).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

_BLOCK = [
    (".norm1.", ".self_norm."),
    (".norm3.", ".mlp_norm."),
    (".attn.", ".self_attention."),
    (".cross_attn.projq.", ".cross_attention.query."),
    (".cross_attn.projk.", ".cross_attention.key."),
    (".cross_attn.projv.", ".cross_attention.value."),
    (".cross_attn.proj.", ".cross_attention.projection."),
    (".self_attention.proj.", ".self_attention.projection."),
    (".norm2.", ".cross_norm."),
    (".norm_y.", ".memory_norm."),
]
_ENCODER = [
    ("patch_embed.proj.", "encoder.patch_embed.projection."),
    ("enc_blocks.", "encoder.blocks."),
    ("enc_norm.", "decoder.token_norm."),
    ("decoder_embed.", "decoder.embed."),
    ("dec_norm.", "decoder.norm."),
]
_HEADS = [
    ("downstream_head1.", "reference_head."),
    ("downstream_head2.", "source_head."),
]
_HEAD_PARTS = [
    ("_head.proj.", "_head.projection."),
    ("_head.dpt.head.", "_head.output."),
    *(
        (f"_head.dpt.act_postprocess.{level}.{part}.", f"_head.body.{ours}.{level}.")
        for level in range(4)
        for part, ours in ((0, "projections"), (1, "resizes"))
    ),
    *((f"_head.dpt.scratch.layer_rn.{level}.", f"_head.body.to_width.{level}.") for level in range(4)),
    *((f"_head.dpt.scratch.refinenet{level + 1}.", f"_head.body.fusions.{level}.") for level in range(4)),
    (".resConfUnit1.", ".skip_unit."),
    (".resConfUnit2.", ".unit."),
    (".out_conv.", ".projection."),
]
_DPT_UNUSED = (
    # Listed twice in published DPT checkpoints: scratch.layerK_rn is scratch.layer_rn.(K-1).
    r"downstream_head\d\.dpt\.scratch\.layer\d_rn\.",
    # The coarsest level has no skip, so its first unit never runs.
    r"downstream_head\d\.dpt\.scratch\.refinenet4\.resConfUnit1\.",
)


@dataclass(frozen=True)
class KeyMap:
    """How the names of one family of checkpoints become ours."""

    name: str
    prefixes: tuple[tuple[str, str], ...]
    """(published, ours) at the start of a name."""
    parts: tuple[tuple[str, str], ...]
    """(published, ours) anywhere in a name, applied one after the other once the prefix is changed."""
    left_out: tuple[str, ...] = ()
    """Regular expressions of published names that have no place in our model, with the reason beside them."""
    copies: tuple[tuple[str, str], ...] = ()
    """(published prefix, published prefix): tensors that also serve under a second name where that is absent."""
    fresh: tuple[str, ...] = ()
    """Prefixes of our names that this family does not hold: they keep their initialization."""

    def rename(self, key: str) -> str | None:
        """Our name of a published key; None if it is left out on purpose. Unknown names come back unchanged."""
        if any(re.match(pattern, key) for pattern in self.left_out):
            return None
        if key.startswith("enc_blocks."):
            # A block without cross attention has its MLP norm second; with it, third.
            key = key.replace(".norm2.", ".norm3.")
        for theirs, ours in self.prefixes:
            if key.startswith(theirs):
                key = ours + key[len(theirs) :]
                break
        for theirs, ours in self.parts:
            key = key.replace(theirs, ours)
        return key

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names."""
        expanded = dict(state)
        for source, target in self.copies:
            if not any(key.startswith(target) for key in state):
                for key, value in state.items():
                    if key.startswith(source):
                        expanded[target + key[len(source) :]] = value
        renamed = ((self.rename(key), value) for key, value in expanded.items())
        return {key: value for key, value in renamed if key is not None}


def _family(name: str, first: str, second: str, **options: tuple) -> KeyMap:
    stacks = ((first, "decoder.reference_blocks."), (second, "decoder.source_blocks."))
    extra = options.pop("prefixes", ())
    return KeyMap(name, (*_ENCODER, *stacks, *_HEADS, *extra), (*_BLOCK, *_HEAD_PARTS), **options)


SLAM3R_I2P = _family(
    "SLAM3R Image-to-Points",
    "mv_dec_blocks1.",
    "mv_dec_blocks2.",
    prefixes=(("corr_score_norm.", "correlation_head.norm."), ("corr_score_proj.", "correlation_head.mlp.")),
    left_out=_DPT_UNUSED,
)
SLAM3R_L2W = _family(
    "SLAM3R Local-to-World",
    "mv_dec_blocks1.",
    "mv_dec_blocks2.",
    prefixes=(
        ("void_pe_token", "pointmap_embedding.void_token"),
        ("ponit_embedder.", "pointmap_embedding.patches.projection."),  # spelled so in the published files
    ),
    # The world model reads I2P's tokens; an encoder in its checkpoint is never run.
    left_out=(*_DPT_UNUSED, r"patch_embed\.", r"enc_blocks\."),
)
DUST3R = _family(
    "DUSt3R",
    "dec_blocks.",
    "dec_blocks2.",
    left_out=(*_DPT_UNUSED, r"mask_token$"),  # the mask token serves CroCo's pre-training only
    copies=(("dec_blocks.", "dec_blocks2."),),
    fresh=("correlation_head.", "pointmap_embedding."),
)
CROCO = _family(
    "CroCo v2",
    "dec_blocks.",
    "dec_blocks2.",
    left_out=(r"mask_token$", r"prediction_head\."),  # both serve the masked-image task only
    copies=(("dec_blocks.", "dec_blocks2."),),
    fresh=("correlation_head.", "pointmap_embedding.", "reference_head.", "source_head."),
)


def detect_key_map(keys: Iterable[str]) -> KeyMap | None:
    """The family of a state dict by its names; None when the names are not of a published family.

    Order matters: every family has CroCo's names, each later one has some of its own.
    """
    keys = set(keys)

    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in keys)

    if has("ponit_embedder."):
        return SLAM3R_L2W
    if has("mv_dec_blocks1."):
        return SLAM3R_I2P
    if has("downstream_head1.") and has("dec_blocks."):
        return DUST3R
    if has("dec_blocks.") and has("enc_blocks."):
        return CROCO
    return None
