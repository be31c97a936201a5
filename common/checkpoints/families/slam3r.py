"""Names of CroCo v2, DUSt3R and SLAM3R checkpoints (see `NOTICE` for their licences).

Each later family has the names of the earlier ones and additional ones.
"""

from __future__ import annotations

from common.checkpoints.families.key_map import KeyMap

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
    ("_head.dpt.head.0.", "_head.features.smooth."),
    ("_head.dpt.head.2.", "_head.predict.0."),
    ("_head.dpt.head.4.", "_head.predict.2."),
    *(
        (f"_head.dpt.act_postprocess.{level}.{part}.", f"_head.features.body.{ours}.{level}.")
        for level in range(4)
        for part, ours in ((0, "projections"), (1, "resizes"))
    ),
    *((f"_head.dpt.scratch.layer_rn.{level}.", f"_head.features.body.to_width.{level}.") for level in range(4)),
    *((f"_head.dpt.scratch.refinenet{level + 1}.", f"_head.features.body.fusions.{level}.") for level in range(4)),
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


def _family(name: str, first: str, second: str, **options: tuple) -> KeyMap:
    stacks = ((first, "decoder.reference_blocks."), (second, "decoder.source_blocks."))
    extra = options.pop("prefixes", ())
    # The MLP norm is the second norm of a block without cross attention, the third of a block with it.
    encoder_norm = ((r"(enc_blocks\.\d+)\.norm2\.", r"\1.norm3."),)
    return KeyMap(
        name, (*_ENCODER, *stacks, *_HEADS, *extra), (*_BLOCK, *_HEAD_PARTS), patterns=encoder_norm, **options
    )


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
