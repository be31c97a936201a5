"""Floating point operations of the backbone by formula: the matrix products, attention's two included.

A product of (m, k) and (k, n) counts 2 m k n. Norms, softmax and activations are not counted, so that the share of the
peak of matrix products says what they cost. The formulas follow what our code computes: shortcuts count as less work.
"""

from __future__ import annotations

from torch import nn

from common.backbone import Block, Encoder, MultiviewDecoder
from common.backbone.view_start import Role


def product_flops(rows: int, layer: nn.Linear) -> int:
    """FLOPs of a linear layer applied to ``rows`` tokens."""
    return 2 * rows * layer.in_features * layer.out_features


def attention_flops(queries: int, keys: int, width: int) -> int:
    """FLOPs of attention scores and their product with the values, over all heads."""
    return 4 * queries * keys * width


def self_attention_flops(block: Block, views: int, tokens: int) -> int:
    """Self attention of ``views`` views of ``tokens`` tokens, each within itself."""
    attention = block.self_attention
    products = product_flops(views * tokens, attention.qkv) + product_flops(views * tokens, attention.projection)
    return products + views * attention_flops(tokens, tokens, attention.projection.in_features)


def mlp_flops(block: Block, views: int, tokens: int) -> int:
    """FLOPs of the two layers of the MLP."""
    return product_flops(views * tokens, block.mlp.fc1) + product_flops(views * tokens, block.mlp.fc2)


def cross_attention_flops(block: Block, targets: int, memories: int, pairs: int, tokens: int) -> int:
    """Max-pooled cross attention.

    Args:
        targets: views that are projected to queries.
        memories: views that are projected to keys and values.
        pairs: (target, memory) pairs that attend; each passes the output projection.
        tokens: per view.
    """
    attention = block.cross_attention
    assert attention is not None
    projections = product_flops(targets * tokens, attention.query) + 2 * product_flops(memories * tokens, attention.key)
    per_pair = attention_flops(tokens, tokens, attention.query.out_features)
    return projections + pairs * (per_pair + product_flops(tokens, attention.projection))


def encoder_flops(encoder: Encoder, images: int, tokens: int) -> int:
    """Patch embedding and all blocks.

    Args:
        images: number of images.
        tokens: patches of an image.
    """
    kernel = encoder.patch_embed.projection
    patches = 2 * images * tokens * kernel.weight.numel()
    blocks = [block for block in encoder.blocks if isinstance(block, Block)]
    return patches + sum(self_attention_flops(b, images, tokens) + mlp_flops(b, images, tokens) for b in blocks)


def decoder_flops(
    decoder: MultiviewDecoder,
    references: int,
    sources: int,
    tokens: int,
    batch: int = 1,
    want_references: bool = True,
    want_sources: bool = True,
    num_layers: int | None = None,
    shared_sources: bool = False,
) -> int:
    """One pass of the multi-view decoder, without heads.

    Args:
        references: views of an item.
        sources: views of an item.
        tokens: per view.
        batch: items.
        want_references: see `MultiviewDecoder`.
        want_sources: see `MultiviewDecoder`.
        num_layers: see `MultiviewDecoder`.
        shared_sources: all items read the same sources (a batch of one), as retrieval does.
    """
    num_layers = decoder.depth if num_layers is None else num_layers
    total = product_flops(batch * references * tokens, decoder.embed)
    total += product_flops((1 if shared_sources else batch) * sources * tokens, decoder.embed)
    pairs, all_references, all_sources = batch * references * sources, batch * references, batch * sources
    for layer in range(num_layers):
        last = layer == num_layers - 1
        # Before the first cross attention the shared sources are still the same for all items.
        distinct = sources if shared_sources and layer == 0 else all_sources
        sides = (
            (decoder.reference_blocks[layer], want_references, all_references, all_references, distinct),
            (decoder.source_blocks[layer], want_sources, distinct, all_sources, all_references),
        )
        for block, wanted, before, after, memories in sides:
            if wanted or not last:
                assert isinstance(block, Block)
                total += self_attention_flops(block, before, tokens) + mlp_flops(block, after, tokens)
                total += cross_attention_flops(block, before, memories, pairs, tokens)
    return total


def start_flops(decoder: MultiviewDecoder, role: Role, views: int, tokens: int) -> int:
    """Operations of `MultiviewDecoder.start`: what a pass saves whose views of this role have been started."""
    own, others = decoder.reference_blocks[0], decoder.source_blocks[0]
    if role == "source":
        own, others = others, own
    assert isinstance(own, Block) and isinstance(others, Block) and others.cross_attention is not None
    memory = 2 * product_flops(views * tokens, others.cross_attention.key)
    return product_flops(views * tokens, decoder.embed) + self_attention_flops(own, views, tokens) + memory
