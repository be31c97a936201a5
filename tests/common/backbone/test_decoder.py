"""The multi-view decoder: parity of its block, and what must not change its result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.backbone import MultiviewDecoder, PatchGrid, ViewStart
from common.backbone.attention import SelfAttention
from common.backbone.rope import Rotary
from tests.support.parity import ROUNDING, assert_close, header, image_to_points, vectors
from tests.support.vector_files import numbers_of


@pytest.fixture(scope="module")
def golden():
    return vectors("decoder_block")


@pytest.fixture(scope="module")
def decoder() -> MultiviewDecoder:
    return image_to_points("decoder_block").decoder


@pytest.fixture(scope="module")
def grid() -> PatchGrid:
    return PatchGrid(*header("decoder_block")["grid"])


@pytest.fixture
def tokens(decoder, grid) -> Tensor:
    """Two windows of five views."""
    return torch.randn(2, 5, grid.num_tokens, decoder.embed.in_features)


@pytest.fixture
def rotary(decoder, grid) -> Rotary:
    return grid.rotary(decoder.head_dim)


class TestBlock:
    """One layer. The vectors have the views first; ours has the batch first."""

    @pytest.fixture
    def block(self, golden, decoder):
        """The block whose inputs and outputs are recorded."""
        (index,) = numbers_of(golden, r"out_reference_block_(\d+)")
        return decoder.reference_blocks[index]

    @torch.no_grad()
    @pytest.mark.parametrize("stack", ["reference", "source"])
    def test_several_targets_and_memories(self, golden, decoder, rotary, stack: str) -> None:
        for index in numbers_of(golden, rf"out_{stack}_block_(\d+)"):
            block = getattr(decoder, f"{stack}_blocks")[index]
            refined = block(golden["x"].transpose(0, 1), rotary, golden["y"].transpose(0, 1))
            assert_close(refined.transpose(0, 1), golden[f"out_{stack}_block_{index}"])

    @torch.no_grad()
    def test_one_memory_only(self, golden, rotary, block) -> None:
        refined = block(golden["x"].transpose(0, 1), rotary, golden["y"][:1].transpose(0, 1))
        assert_close(refined.transpose(0, 1), golden["out_one_source"])

    @torch.no_grad()
    def test_small_inputs_show_the_epsilon_of_the_norms(self, golden, rotary, block) -> None:
        refined = block(golden["low_x"].transpose(0, 1), rotary, golden["low_y"].transpose(0, 1))
        assert_close(refined.transpose(0, 1), golden["low_out"])

    @torch.no_grad()
    def test_cross_attention_is_the_maximum_over_memories_of_the_published_pairs(self, golden, rotary, block) -> None:
        (name,) = (name for name in golden if name.startswith("cross_attention_reference_block_"))
        pairs = golden[name]  # (target, memory, batch, token, channel)
        target = block.cross_norm(golden["x"].transpose(0, 1))
        memory = block.memory_norm(golden["y"].transpose(0, 1))
        attention = block.cross_attention
        for view in range(memory.shape[1]):
            one = attention(target, attention.remember(memory[:, view : view + 1], rotary), rotary)
            assert_close(one.transpose(0, 1), pairs[:, view])
        pooled = attention(target, attention.remember(memory, rotary), rotary)
        assert_close(pooled.transpose(0, 1), pairs.amax(dim=1))


class TestInvariance:
    @torch.no_grad()
    def test_the_order_of_sources_does_not_matter(self, decoder, grid, tokens) -> None:
        order = torch.tensor([2, 0, 3, 1])
        plain = decoder(tokens[:, :1], tokens[:, 1:], grid)
        shuffled = decoder(tokens[:, :1], tokens[:, 1:][:, order], grid)
        assert_close(shuffled.references[-1], plain.references[-1], ROUNDING)
        assert_close(shuffled.sources[-1], plain.sources[-1][:, order], ROUNDING)

    @torch.no_grad()
    def test_the_order_of_references_does_not_matter(self, decoder, grid, tokens) -> None:
        order = torch.tensor([2, 0, 1])
        plain = decoder(tokens[:, :3], tokens[:, 3:], grid)
        shuffled = decoder(tokens[:, :3][:, order], tokens[:, 3:], grid)
        assert_close(shuffled.references[-1], plain.references[-1][:, order], ROUNDING)
        assert_close(shuffled.sources[-1], plain.sources[-1], ROUNDING)

    @torch.no_grad()
    def test_a_source_given_twice_changes_nothing(self, decoder, grid, tokens) -> None:
        once = decoder(tokens[:, :1], tokens[:, 1:3], grid)
        twice = decoder(tokens[:, :1], tokens[:, [1, 2, 1]], grid)
        assert_close(twice.references[-1], once.references[-1], ROUNDING)

    @torch.no_grad()
    @pytest.mark.parametrize("chunk", [1, 2, 3])
    def test_memory_chunks_change_nothing(self, decoder, grid, tokens, chunk: int) -> None:
        plain = decoder(tokens[:, :2], tokens[:, 2:], grid)
        chunked = decoder(tokens[:, :2], tokens[:, 2:], grid, memory_chunk=chunk)
        for ours, expected in zip(chunked.references + chunked.sources, plain.references + plain.sources, strict=True):
            assert_close(ours, expected, ROUNDING)

    @torch.no_grad()
    @pytest.mark.parametrize("cached", [1, 40, 100, 300])
    @pytest.mark.parametrize("transposed", [None, torch.tensor([False, True])], ids=["plain", "mixed"])
    def test_working_on_what_stays_in_the_cache_changes_nothing(
        self, decoder, grid, tokens, monkeypatch, cached: int, transposed: Tensor | None
    ) -> None:
        """From less than one view at once to nearly all of them."""
        grid = replace(grid, transposed=transposed)
        plain = decoder(tokens[:, :2], tokens[:, 2:], grid)
        monkeypatch.setattr("common.backbone.attention.CACHED_TOKENS", cached)
        parts = decoder(tokens[:, :2], tokens[:, 2:], grid)
        assert_close(parts.references[-1], plain.references[-1], ROUNDING)
        assert_close(parts.sources[-1], plain.sources[-1], ROUNDING)

    def test_inference_and_training_compute_the_same(self, decoder, grid, tokens, monkeypatch) -> None:
        monkeypatch.setattr("common.backbone.attention.CACHED_TOKENS", 40)
        trained = decoder(tokens[:, :2], tokens[:, 2:], grid).sources[-1]
        with torch.inference_mode():
            inferred = decoder(tokens[:, :2], tokens[:, 2:], grid).sources[-1]
        assert trained.requires_grad
        assert_close(inferred, trained, ROUNDING)

    @torch.no_grad()
    @pytest.mark.parametrize("cached", [40, 2048])
    def test_one_item_on_either_side_stands_for_all(self, decoder, grid, tokens, monkeypatch, cached: int) -> None:
        monkeypatch.setattr("common.backbone.attention.CACHED_TOKENS", cached)
        both, one = tokens[:, :2], tokens[:1, 2:]
        for references, sources in ((both, one), (one, both)):
            short = decoder(references, sources, grid)
            full = decoder(*(side.expand(2, -1, -1, -1) for side in (references, sources)), grid)
            assert_close(short.references[-1], full.references[-1], ROUNDING)
            assert_close(short.sources[-1], full.sources[-1], ROUNDING)

    @torch.no_grad()
    def test_items_of_a_batch_do_not_see_each_other(self, decoder, grid, tokens) -> None:
        both = decoder(tokens[:, :2], tokens[:, 2:], grid)
        alone = decoder(tokens[1:, :2], tokens[1:, 2:], grid)
        assert_close(both.references[-1][1:], alone.references[-1], ROUNDING)
        assert_close(both.sources[-1][1:], alone.sources[-1], ROUNDING)

    @torch.no_grad()
    def test_transposed_items_have_their_own_positions(self, decoder, grid, tokens) -> None:
        mixed = replace(grid, transposed=torch.tensor([False, True]))
        streams = decoder(tokens[:, :2], tokens[:, 2:], mixed)
        upright = decoder(tokens[:1, :2], tokens[:1, 2:], grid)
        turned = decoder(tokens[1:, :2], tokens[1:, 2:], PatchGrid(grid.width, grid.height))
        assert_close(streams.sources[-1][:1], upright.sources[-1], ROUNDING)
        assert_close(streams.sources[-1][1:], turned.sources[-1], ROUNDING)


class TestPartialPasses:
    """Skipping what nobody asked for is an optimization, not another result."""

    @torch.no_grad()
    def test_one_side_alone_equals_the_full_pass(self, decoder, grid, tokens) -> None:
        full = decoder(tokens[:, :2], tokens[:, 2:], grid)
        references = decoder(tokens[:, :2], tokens[:, 2:], grid, want_sources=False)
        sources = decoder(tokens[:, :2], tokens[:, 2:], grid, want_references=False)
        assert references.sources == [] and sources.references == []
        assert_close(references.references[-1], full.references[-1], ROUNDING)
        assert_close(sources.sources[-1], full.sources[-1], ROUNDING)

    @torch.no_grad()
    def test_fewer_layers_are_the_beginning_of_the_full_pass_and_not_normalized(self, decoder, grid, tokens) -> None:
        full = decoder(tokens[:, :2], tokens[:, 2:], grid)
        short = decoder(tokens[:, :2], tokens[:, 2:], grid, num_layers=2)
        assert len(short.sources) == 3 and len(full.sources) == decoder.depth + 1
        for ours, expected in zip(short.references, full.references[:3], strict=True):
            assert_close(ours, expected, ROUNDING)

    @torch.no_grad()
    def test_an_embedding_of_zeros_adds_nothing(self, decoder, grid, tokens) -> None:
        nothing = torch.zeros(*tokens.shape[:3], decoder.embed.out_features)
        plain = decoder(tokens[:, :2], tokens[:, 2:], grid)
        added = decoder(tokens[:, :2], tokens[:, 2:], grid, nothing[:, :2], nothing[:, 2:])
        assert_close(added.sources[-1], plain.sources[-1], ROUNDING)

    @torch.no_grad()
    @pytest.mark.parametrize("num_layers", [None, 1])
    def test_views_that_started_before_change_nothing(self, decoder, grid, tokens, num_layers: int | None) -> None:
        """Starts of single views, kept and joined with others for each window, as the reconstruction does."""
        added = torch.randn(*tokens.shape[:3], decoder.embed.out_features)
        full = decoder(tokens[:, :2], tokens[:, 2:], grid, added[:, :2], added[:, 2:], num_layers=num_layers)
        kept = {}
        for role, views in (("reference", slice(0, 2)), ("source", slice(2, 5))):
            own, more = tokens[:, views].flatten(0, 1)[None], added[:, views].flatten(0, 1)[None]
            kept[role] = ViewStart.join(decoder.start(own, grid, role, more).split()).items(2)
        started = decoder(kept["reference"], kept["source"], grid, num_layers=num_layers)
        half = decoder(tokens[:, :2], kept["source"], grid, added[:, :2], num_layers=num_layers)
        for streams in (started, half):
            for ours, expected in zip(
                streams.references + streams.sources, full.references + full.sources, strict=True
            ):
                assert_close(ours, expected, ROUNDING)

    def test_every_parameter_learns(self, grid, tokens) -> None:
        decoder = MultiviewDecoder(tokens.shape[-1], 48, depth=2, num_heads=4)
        streams = decoder(tokens[:, :2], tokens[:, 2:], grid)
        (streams.references[-1].square().mean() + streams.sources[-1].pow(3).mean()).backward()
        assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_width_must_be_divisible_by_the_heads() -> None:
    with pytest.raises(ValueError, match="width 10 is not divisible by 4 heads"):
        SelfAttention(10, 4)
