"""Names of VGGT checkpoints (Wang et al. 2025), and of Uni3R's: a VGGT, a teacher VGGT, LSeg and new heads."""

from __future__ import annotations

from common.checkpoints.families.key_map import KeyMap


def _dense_head(theirs: str, ours: str) -> list[tuple[str, str]]:
    """A DPT head: ``ours`` is the `DPTFeatures` of the head."""
    return [
        (f"{theirs}norm.", f"{ours}body.token_norm."),
        (f"{theirs}projects.", f"{ours}body.projections."),
        (f"{theirs}resize_layers.", f"{ours}body.resizes."),
        *((f"{theirs}scratch.layer{level + 1}_rn.", f"{ours}body.to_width.{level}.") for level in range(4)),
        *((f"{theirs}scratch.refinenet{level + 1}.", f"{ours}body.fusions.{level}.") for level in range(4)),
        (f"{theirs}scratch.output_conv1.", f"{ours}smooth."),
        (f"{theirs}input_merger.0.", f"{ours}image_branch."),
    ]


def _vggt(root: str) -> list[tuple[str, str]]:
    """(published, ours) prefixes of a VGGT whose names begin with ``root``."""
    aggregator, camera = f"{root}aggregator.", f"{root}camera_head."
    encoder = f"{aggregator}patch_embed."
    return [
        (f"{encoder}cls_token", "backbone.encoder.class_token"),
        (f"{encoder}pos_embed", "backbone.encoder.position_table.entries"),
        (f"{encoder}register_tokens", "backbone.encoder.registers"),
        (f"{encoder}patch_embed.proj.", "backbone.encoder.patch_embed.projection."),
        (f"{encoder}blocks.", "backbone.encoder.blocks."),
        (f"{encoder}norm.", "backbone.encoder.norm."),
        (f"{aggregator}camera_token", "backbone.decoder.camera_tokens"),
        (f"{aggregator}register_token", "backbone.decoder.register_tokens"),
        (f"{aggregator}frame_blocks.", "backbone.decoder.frame_blocks."),
        (f"{aggregator}global_blocks.", "backbone.decoder.global_blocks."),
        (f"{aggregator}intrinsic_encoder.", "backbone.intrinsics.projection."),
        (f"{camera}empty_pose_tokens", "camera_head.first_encoding"),
        (f"{camera}embed_pose.", "camera_head.embed."),
        (f"{camera}poseLN_modulation.1.", "camera_head.modulation."),
        (f"{camera}pose_branch.", "camera_head.refine."),
        (camera, "camera_head."),
        *(
            pair
            for head in ("point_head", "depth_head")
            for pair in (
                *_dense_head(f"{root}{head}.", f"{head}.features."),
                (f"{root}{head}.scratch.output_conv2.", f"{head}.predict."),
            )
        ),
    ]


_PARTS = (
    (".norm1.", ".self_norm."),
    (".norm2.", ".mlp_norm."),
    (".attn.proj.", ".self_attention.projection."),
    (".attn.q_norm.", ".self_attention.query_norm."),
    (".attn.k_norm.", ".self_attention.key_norm."),
    (".attn.", ".self_attention."),
    (".ls1.", ".scale1."),
    (".ls2.", ".scale2."),
    (".resConfUnit1.", ".skip_unit."),
    (".resConfUnit2.", ".unit."),
    (".out_conv.", ".projection."),
)
_UNUSED = (
    r".*\.mask_token$",  # serves DINOv2's pre-training only
    r"(\w+\.)?track_head\.",  # tracks points; nothing here does
)

VGGT = KeyMap("VGGT", tuple(_vggt("")), _PARTS, left_out=_UNUSED)
UNI3R = KeyMap(
    "Uni3R",
    (
        *_vggt("vggt."),
        *_dense_head("dpt_head.", "attribute_head.features."),
        ("gs_attr_proj.", "attribute_head.project."),
        ("feature_expansion.1.", "feature_compressor.expansion."),
        ("feature_reduction.0.", "feature_compressor.reduction."),
    ),
    _PARTS,
    left_out=(
        *_UNUSED,
        r"distiller\.",  # the teacher: training only, see UNI3R_TEACHER
        r"lseg_feature_extractor\.",  # see the family lseg
        r"gaussian_head\.gaussian_proj\.",  # never run
    ),
)
UNI3R_TEACHER = KeyMap(
    "VGGT inside a Uni3R file",
    tuple(_vggt("distiller.")),
    _PARTS,
    left_out=(*_UNUSED, r"(?!distiller\.)"),  # all but the teacher
)
