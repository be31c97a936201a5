"""Both SLAM3R networks against the published code, and what must not change their results."""

from __future__ import annotations

import json
import zlib

import pytest
import torch
from torch import Tensor

from common.backbone import PatchGrid
from common.backbone.attention import MaxPooledCrossAttention
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.parity import (
    DPT_TOLERANCE,
    ROUNDING,
    TOLERANCE,
    ModelT,
    assert_close,
    fill,
    find,
    frames,
    header,
    image_to_points,
    local_to_world,
    procedural_frames,
    salt_of,
    vectors,
    weight_of,
)
from tests.support.vector_files import count_in, numbers_of, step_between, subsampling


def assert_maps(
    pointmaps: Pointmaps, golden: dict, prefix: str = "", suffix: str = "", tolerance: float = TOLERANCE
) -> None:
    """Compare maps with the tensors called ``points`` and ``confidence``, which hold every n-th row and column."""
    points, confidence = golden[f"{prefix}points{suffix}"], golden[f"{prefix}confidence{suffix}"]
    step = step_between(pointmaps.confidence.shape[-2], confidence.shape[-2])
    assert_close(pointmaps.points[..., ::step, ::step, :], points, tolerance)
    assert_close(pointmaps.confidence[..., ::step, ::step], confidence, tolerance)


def views_first(pointmaps: Pointmaps) -> Pointmaps:
    """(B, V, ..) to the order of the batched vectors, (V, B, ..)."""
    return Pointmaps(pointmaps.points.transpose(0, 1), pointmaps.confidence.transpose(0, 1))


def joined(references: Pointmaps | None, sources: Pointmaps) -> Pointmaps:
    """The views of an L2W pass in the order of the vectors: references, then sources; the batch axis is dropped."""
    assert references is not None
    parts = zip((references.points, references.confidence), (sources.points, sources.confidence), strict=True)
    return Pointmaps(*(torch.cat(pair, dim=1)[0] for pair in parts))


def test_the_weight_rule_first() -> None:
    """If this fails, no other number means anything."""
    checks = json.loads(find("weights_check.json").read_text())
    for name, check in checks.items():
        key = name.split(":")[1]
        assert zlib.crc32((check["salt"] + key).encode()) == check["crc32"]
        weight = weight_of(key, torch.Size(check["shape"]), check["salt"])
        assert weight.ravel()[:3].tolist() == check["first"][: weight.size], name
        assert float(weight.astype("float64").sum()) == pytest.approx(check["sum"], rel=1e-9, abs=1e-9), name
        assert float((weight.astype("float64") ** 2).sum()) == pytest.approx(check["sumsq"], rel=1e-9), name


class TestImageToPoints:
    @torch.no_grad()
    def test_window_of_five(self) -> None:
        golden, network = vectors("i2p"), image_to_points("i2p")
        reference = int(golden["ref_id"])
        tokens, grid = network.encode(frames(golden["frame_ids"])[None])
        pointmaps, logits = network.forward_with_correlation(tokens, grid, reference)
        assert_maps(pointmaps[0], golden)
        for name, view in (("ref", reference), ("view0", 0)):
            assert_close(pointmaps.points[0, view], golden[f"points_full_{name}"])
            assert_close(pointmaps.confidence[0, view], golden[f"confidence_full_{name}"])
        assert_close(logits[0], golden["pseudo_confidence"])

    @torch.no_grad()
    def test_decoder_streams(self) -> None:
        golden, network = vectors("i2p"), image_to_points("i2p")
        reference = int(golden["ref_id"])
        tokens, grid = network.encode(frames(golden["frame_ids"])[None])
        sources = torch.cat([tokens[:, :reference], tokens[:, reference + 1 :]], dim=1)
        streams = network.decoder(tokens[:, reference : reference + 1], sources, grid)
        for layer in numbers_of(golden, r"decoded_reference_(\d+)"):
            assert_close(streams.references[layer][0], golden[f"decoded_reference_{layer}"])
            assert_close(streams.sources[layer][0], golden[f"decoded_sources_{layer}"])

    @torch.no_grad()
    def test_batch_of_two_windows(self) -> None:
        golden, network = vectors("i2p"), image_to_points("i2p")
        offset = count_in(header("i2p")["what"], r"frames i and i\+(\d+)")
        ids = golden["frame_ids"][: len(golden["batch_points"])]
        tokens, grid = network.encode(torch.stack([frames(ids), frames(ids + offset)]))
        assert_maps(views_first(network(tokens, grid, 0)), golden, "batch_")

    @torch.no_grad()
    def test_dpt_heads(self) -> None:
        network = image_to_points("i2p_dpt")
        tokens, grid = network.encode(frames(kind="landscape")[None])
        pointmaps = network(tokens, grid, int(header("i2p_dpt")["ref_id"]))
        assert_maps(pointmaps[0], vectors("i2p_dpt"), tolerance=DPT_TOLERANCE)

    @torch.no_grad()
    @pytest.mark.parametrize("layout", ["landscape", "portrait"])
    def test_images_that_are_not_square(self, layout: str) -> None:
        network = image_to_points("nonsquare")
        tokens, grid = network.encode(frames(kind=layout)[None])
        assert_maps(network(tokens, grid, 0)[0], vectors("nonsquare"), f"{layout}_")

    @torch.no_grad()
    def test_portraits_stored_transposed_among_landscapes(self) -> None:
        golden, network = vectors("nonsquare"), image_to_points("nonsquare")
        images = torch.stack([frames(kind="landscape"), frames(kind="portrait").transpose(-1, -2)])
        transposed = torch.tensor([False, True])
        patches, grid = network.encoder.patch_embed(images[:, 0], transposed)
        assert_close(patches, golden["mixed_patch_tokens"])
        assert torch.equal(grid.positions(), golden["mixed_positions"])
        tokens, grid = network.encode(images, transposed)
        assert_maps(views_first(network(tokens, grid, 0)), golden, "mixed_")


class TestRetrieval:
    @torch.no_grad()
    def test_scores_and_choice(self) -> None:
        golden, network, info = vectors("retrieval"), image_to_points("retrieval"), header("retrieval")
        tokens, grid = network.encode(frames(torch.cat([golden["source_ids"], golden["candidate_ids"]]))[:, None])
        queries, candidates = tokens.flatten(0, 1).split([len(golden["source_ids"]), len(golden["candidate_ids"])])
        patch_scores = network.correlation_scores(queries, candidates, grid)
        assert_close(patch_scores.transpose(0, 1), golden["patch_scores"])
        mean = patch_scores.mean(dim=(0, 2))
        scores = (mean - 1) / mean
        assert_close(scores, golden["scores"])
        assert scores.argsort(descending=True)[: int(info["select"])].tolist() == golden["selected"].tolist()

    @torch.no_grad()
    def test_small_inputs_show_that_the_norm_of_the_head_has_another_epsilon(self) -> None:
        golden = vectors("retrieval")
        head = image_to_points("retrieval").correlation_head
        assert_close(head(golden["head_low_in"]), golden["head_low_out"])


class TestLocalToWorld:
    @torch.no_grad()
    def test_three_references_and_four_sources(self) -> None:
        golden, count = vectors("l2w"), int(vectors("l2w")["num_ref"])
        tokens, grid = image_to_points("l2w").encode(frames(golden["frame_ids"])[None])
        points = golden["points_in"].float()[None]
        pointmaps = joined(
            *local_to_world("l2w")(tokens[:, :count], points[:, :count], tokens[:, count:], points[:, count:], grid)
        )
        assert_maps(pointmaps, golden)
        assert_close(pointmaps.points[-1], golden["points_full_last"])
        assert_close(pointmaps.confidence[-1], golden["confidence_full_last"])

    @torch.no_grad()
    def test_landscape(self) -> None:
        golden, count = vectors("nonsquare"), count_in(header("nonsquare")["what"], r"first (\w+) references")
        tokens, grid = image_to_points("nonsquare").encode(frames(kind="landscape")[None])
        points = golden["l2w_points_in"].float()[None]
        network = local_to_world("nonsquare")
        pointmaps = joined(*network(tokens[:, :count], points[:, :count], tokens[:, count:], points[:, count:], grid))
        assert_maps(pointmaps, golden, "l2w_")

    @torch.no_grad()
    def test_pointmap_embedding_with_void_token_and_landscape(self) -> None:
        golden = vectors("pointmap_embedding")
        embed = local_to_world("pointmap_embedding").pointmap_embedding
        points = golden["points"].float()[:, None]
        assert_close(embed(points)[:, 0], golden["embedding"])
        assert_close(embed(points, golden["patch_mask"][:, None])[:, 0], golden["embedding_masked"])
        landscape = golden["landscape_points"].float()[:, None]
        assert_close(embed(landscape)[:, 0], golden["landscape_embedding"])


def cross_attention_of_dust3r(attention: MaxPooledCrossAttention, x: Tensor, y: Tensor, grid: PatchGrid) -> Tensor:
    """One target, one memory, softmax written out."""

    def heads(tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

    query, key, value = heads(attention.query(x)), heads(attention.key(y)), heads(attention.value(y))
    rotary = grid.rotary(query.shape[-1])
    weights = (rotary.rotate(query) @ rotary.rotate(key).mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    return attention.projection((weights @ value).transpose(1, 2).flatten(2))


class TestDUSt3R:
    """With one reference and one source there is nothing to pool: the decoder is DUSt3R's two-branch decoder."""

    @torch.no_grad()
    def test_published_pair(self) -> None:
        """Weights by DUSt3R's names, so its two decoders and heads are ours; the published DUSt3R code's numbers."""
        golden, network = vectors("dust3r_pair"), image_to_points("dust3r_pair", "dust3r")
        tokens, grid = network.encode(frames(golden["frame_ids"])[None])
        pointmaps = network(tokens, grid, 0)[0]
        for view in (0, 1):
            assert_maps(pointmaps[view], golden, suffix=f"_{view + 1}")

    @torch.no_grad()
    def test_two_branches_written_out(self) -> None:
        decoder, grid = image_to_points("i2p").decoder, PatchGrid(4, 5)
        tokens = torch.randn(1, 2, grid.num_tokens, decoder.embed.in_features)
        rotary = grid.rotary(decoder.head_dim)

        def block_of_dust3r(block, x: Tensor, y: Tensor) -> Tensor:
            x = x + block.self_attention(block.self_norm(x), rotary)
            x = x + cross_attention_of_dust3r(block.cross_attention, block.cross_norm(x), block.memory_norm(y), grid)
            return x + block.mlp(block.mlp_norm(x))

        first, second = (decoder.embed(decoder.token_norm(view)) for view in tokens.unbind(1))
        for block1, block2 in zip(decoder.reference_blocks, decoder.source_blocks, strict=True):
            first, second = block_of_dust3r(block1, first, second), block_of_dust3r(block2, second, first)
        streams = decoder(tokens[:, :1], tokens[:, 1:], grid)
        assert_close(streams.references[-1][:, 0], decoder.norm(first), ROUNDING)
        assert_close(streams.sources[-1][:, 0], decoder.norm(second), ROUNDING)


class TestShortcuts:
    """The fast paths of the reconstruction equal the full pass. Procedural frames, no files."""

    @pytest.fixture(scope="class")
    @torch.no_grad()
    def window(self):
        network = image_to_points("i2p")
        images = procedural_frames(8, 64, 96).unflatten(0, (2, 4))
        return network, *network.encode(images)

    @torch.no_grad()
    def test_reference_pointmap_alone(self, window) -> None:
        network, tokens, grid = window
        full = network(tokens, grid, 0)
        alone = network.reference_pointmap(tokens[:, 0], tokens[:, 1:], grid)
        assert_close(alone.points, full.points[:, 0], ROUNDING)
        assert_close(alone.confidence, full.confidence[:, 0], ROUNDING)

    @torch.no_grad()
    def test_the_reference_may_stand_anywhere_in_the_window(self, window) -> None:
        network, tokens, grid = window
        first = network(tokens, grid, 0)
        moved = network(tokens[:, [1, 2, 0, 3]], grid, 2)
        assert_close(moved.points, first.points[:, [1, 2, 0, 3]], ROUNDING)

    @torch.no_grad()
    def test_correlation_scores_are_those_of_a_full_pass(self, window) -> None:
        network, tokens, grid = window
        _, logits = network.forward_with_correlation(tokens, grid, 0)
        for item in (0, 1):
            scores = network.correlation_scores(tokens[item, :1], tokens[item, 1:], grid)
            assert_close(scores[0], 1 + logits[item].exp(), ROUNDING)

    @torch.no_grad()
    def test_queries_are_scored_independently(self, window) -> None:
        network, tokens, grid = window
        both = network.correlation_scores(tokens[:, 0], tokens[0, 1:], grid)
        assert_close(network.correlation_scores(tokens[1:, 0], tokens[0, 1:], grid), both[1:], ROUNDING)

    @torch.no_grad()
    @pytest.mark.parametrize("options", [{"want_references": False}, {"memory_chunk": 1}, {"memory_chunk": 2}])
    def test_registration_without_references_and_in_chunks(self, window, options: dict) -> None:
        _, tokens, grid = window
        network, points = local_to_world("l2w"), torch.randn(2, 4, 64, 96, 3)
        inputs = tokens[:, :2], points[:, :2], tokens[:, 2:], points[:, 2:], grid
        _, full = network(*inputs)
        references, sources = network(*inputs, **options)
        assert (references is None) == ("want_references" in options)
        assert_close(sources.points, full.points, ROUNDING)
        assert_close(sources.confidence, full.confidence, ROUNDING)

    @torch.no_grad()
    def test_encoding_in_chunks_and_batches(self, window) -> None:
        network, tokens, _ = window
        images = procedural_frames(8, 64, 96)
        assert_close(network.encode(images[None], chunk=3)[0][0], tokens.flatten(0, 1), ROUNDING)

    @torch.no_grad()
    def test_a_window_does_not_see_the_other_windows_of_its_batch(self, window) -> None:
        network, tokens, grid = window
        both, alone = network(tokens, grid, 1), network(tokens[1:], grid, 1)
        assert_close(alone.points, both.points[1:], ROUNDING)
        assert_close(alone.confidence, both.confidence[1:], ROUNDING)

    def test_inference_first_and_a_training_step_after(self) -> None:
        network = ImageToPoints(
            encoder_width=16, encoder_depth=1, encoder_heads=2, decoder_width=16, decoder_depth=2, decoder_heads=2
        )
        images = procedural_frames(2, 32, 80)[None]
        with torch.inference_mode():
            network(*network.encode(images), 0)
        pointmaps, logits = network.forward_with_correlation(*network.encode(images), 0)
        (pointmaps.points.square().mean() + pointmaps.confidence.mean() + logits.mean()).backward()
        assert [name for name, p in network.named_parameters() if p.grad is None] == []


def empty_at_published_size(network: type[ModelT]) -> ModelT:
    """Without the time that initialization takes: every tensor is filled afterwards."""
    with torch.device("meta"):
        model = network()
    return model.to_empty(device="cpu")


@pytest.mark.slow
@torch.no_grad()
def test_published_size() -> None:
    """533 M and 231 M parameters, one after the other: about 3 GB of memory."""
    golden, info = vectors("large"), header("large")
    images, part = frames(golden["frame_ids"])[None], subsampling(info["what"])

    def assert_subsampled(pointmaps: Pointmaps, prefix: str) -> None:
        assert_close(pointmaps.points[:, part, part], golden[f"{prefix}points"])
        assert_close(pointmaps.confidence[:, part, part], golden[f"{prefix}confidence"])

    i2p = fill(empty_at_published_size(ImageToPoints), "i2p", salt_of(info, "i2p"))
    assert sum(parameter.numel() for parameter in i2p.parameters()) == 532_934_913
    tokens, grid = i2p.encode(images)
    kept = golden["tokens_unnormalized"]
    rows, channels = (step_between(*sizes) for sizes in zip(tokens.shape[-2:], kept.shape, strict=True))
    assert_close(tokens[0, 0, ::rows, ::channels], kept)
    assert_subsampled(i2p(tokens, grid, int(golden["ref_id"]))[0], "")
    scores = i2p.correlation_scores(tokens[:, 0], tokens[0, 1:], grid)
    assert_close(scores[0], golden["correlation_scores"])
    del i2p

    l2w = fill(empty_at_published_size(LocalToWorld), "l2w", salt_of(info, "l2w"))
    points = vectors("l2w")["points_in"][golden["l2w_points_in_ids"]].float()[None]
    count = count_in(info["what"], r"first (\w+) are references")
    pointmaps = joined(*l2w(tokens[:, :count], points[:, :count], tokens[:, count:], points[:, count:], grid))
    assert_subsampled(pointmaps, "l2w_")
