"""Loading and saving: what works from where, and that every misfit is told by name."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.checkpoints.hub import initialized
from common.checkpoints.location import locate
from common.checkpoints.reading import read_state_dict
from common.errors import CheckpointError
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.parity import fill, published_state

SIZES = {"encoder_width": 64, "encoder_depth": 1, "encoder_heads": 1}
SIZES |= {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 1}
PUBLISHED_CONFIG = {
    "enc_embed_dim": 64,
    "enc_depth": 1,
    "enc_num_heads": 4,
    "dec_embed_dim": 64,
    "dec_depth": 2,
    "dec_num_heads": 2,
    "head_type": "linear",
    "img_size": [224, 224],
    "pos_embed": "RoPE100",
}


@pytest.fixture(scope="module")
def i2p() -> ImageToPoints:
    return fill(ImageToPoints(**SIZES), "i2p")


@pytest.fixture(scope="module")
def l2w() -> LocalToWorld:
    return fill(LocalToWorld(**SIZES), "l2w", "l2w/")


@pytest.fixture(scope="module")
def published_i2p(i2p) -> dict[str, Tensor]:
    return published_state(i2p, "i2p")


@pytest.fixture(scope="module")
def published_l2w(l2w) -> dict[str, Tensor]:
    """As published: with the patch embedding that L2W never uses."""
    extra = {"patch_embed.proj.weight": torch.zeros(64, 3, 16, 16), "patch_embed.proj.bias": torch.zeros(64)}
    return {**published_state(l2w, "l2w"), **extra}


@pytest.fixture(scope="module")
def dust3r() -> dict[str, Tensor]:
    return {**published_state(ImageToPoints(**SIZES), "dust3r"), "mask_token": torch.zeros(1, 1, 64)}


@pytest.fixture(scope="module")
def croco() -> dict[str, Tensor]:
    """One decoder, and the head of the masked-image task."""
    names = published_state(ImageToPoints(**SIZES), "croco")
    kept = {k: v for k, v in names.items() if not k.startswith(("dec_blocks2.", "downstream_head"))}
    return {**kept, "mask_token": torch.zeros(1, 1, 64), "prediction_head.weight": torch.zeros(768, 64)}


def assert_same_weights(model: torch.nn.Module, expected: torch.nn.Module, rtol: float = 0, atol: float = 0) -> None:
    state = model.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=rtol, atol=atol)


def write(state: dict, path: Path) -> Path:
    """A state dict into a file of the kind that the suffix names; training checkpoints have it under ``model``."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save({"model": state, "epoch": 3, "args": argparse.Namespace(lr=1e-4, model="I2P(..)")}, path)
    return path


class TestRoundTrip:
    @pytest.mark.parametrize("network", ["i2p", "l2w"])
    def test_float32_is_exact(self, network: str, request, tmp_path: Path) -> None:
        model = request.getfixturevalue(network)
        folder = model.save_pretrained(tmp_path / "new" / "folder", metadata={"license": "Apache-2.0"})
        loaded = type(model).from_pretrained(folder)
        assert_same_weights(loaded, model)
        assert loaded.config == model.config and not loaded.training
        assert loaded.load_report is not None and loaded.load_report.fits
        config = json.loads((folder / "config.json").read_text())
        assert config["model"] == type(model).__name__ and config["metadata"] == {"license": "Apache-2.0"}
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]

    def test_float16_halves_the_file_and_comes_back_as_float32(self, i2p, tmp_path: Path) -> None:
        whole = i2p.save_pretrained(tmp_path / "whole") / "model.safetensors"
        half = i2p.save_pretrained(tmp_path / "half", torch.float16) / "model.safetensors"
        assert half.stat().st_size < 0.6 * whole.stat().st_size
        loaded = ImageToPoints.from_pretrained(tmp_path / "half")
        assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
        assert_same_weights(loaded, i2p, rtol=1e-3, atol=1e-4)

    def test_sizes_that_no_tensor_shows_come_from_the_config(self, tmp_path: Path) -> None:
        unusual = ImageToPoints(**{**SIZES, "encoder_heads": 4, "point_activation": "inv_log"})
        loaded = ImageToPoints.from_pretrained(unusual.save_pretrained(tmp_path))
        assert loaded.config == unusual.config
        assert ImageToPoints.from_pretrained(tmp_path, decoder_heads=2).config.decoder_heads == 2


class TestPublishedFiles:
    """Names and containers of other projects."""

    @pytest.mark.parametrize("name", ["slam3r_i2p.safetensors", "checkpoint-best.pth", "last.ckpt"])
    def test_a_single_file_with_its_sizes_inferred(self, i2p, published_i2p, tmp_path: Path, name: str) -> None:
        loaded = ImageToPoints.from_pretrained(write(published_i2p, tmp_path / name))
        assert_same_weights(loaded, i2p)
        assert loaded.config == i2p.config
        assert loaded.load_report is not None and loaded.load_report.family == "SLAM3R Image-to-Points"

    def test_names_of_data_parallel_training(self, i2p, published_i2p, tmp_path: Path) -> None:
        wrapped = {f"module.{key}": value for key, value in published_i2p.items()}
        assert_same_weights(ImageToPoints.from_pretrained(write(wrapped, tmp_path / "ddp.pth")), i2p)

    def test_a_folder_with_the_published_config(self, i2p, published_i2p, tmp_path: Path) -> None:
        write(published_i2p, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(PUBLISHED_CONFIG))
        loaded = ImageToPoints.from_pretrained(tmp_path)
        assert_same_weights(loaded, i2p)
        assert (loaded.config.encoder_heads, loaded.config.decoder_heads) == (4, 2)

    @pytest.mark.parametrize("with_encoder", [False, True])
    def test_local_to_world_with_and_without_encoder(self, l2w, published_l2w, tmp_path, with_encoder: bool) -> None:
        encoder = {"enc_blocks.0.norm1.weight": torch.zeros(64)} if with_encoder else {}
        loaded = LocalToWorld.from_pretrained(write({**published_l2w, **encoder}, tmp_path / "l2w.pth"))
        assert_same_weights(loaded, l2w)
        assert loaded.load_report is not None
        assert set(loaded.load_report.left_out) == {"patch_embed.proj.weight", "patch_embed.proj.bias", *encoder}

    def test_dust3r_needs_permission_to_start_the_correlation_head_fresh(self, dust3r, tmp_path: Path) -> None:
        file = write(dust3r, tmp_path / "DUSt3R_224_linear.pth")
        with pytest.raises(CheckpointError, match=r"6 missing: correlation_head\.norm\.weight, correlation_head"):
            ImageToPoints.from_pretrained(file)
        loaded = ImageToPoints.from_pretrained(file, allow_fresh=True)
        assert torch.equal(loaded.decoder.source_blocks[1].mlp.fc1.weight, dust3r["dec_blocks2.1.mlp.fc1.weight"])
        assert loaded.load_report is not None and loaded.load_report.left_out == ["mask_token"]

    def test_local_to_world_starts_from_dust3r_without_its_encoder(self, dust3r, tmp_path: Path) -> None:
        file = write(dust3r, tmp_path / "dust3r.safetensors")
        loaded = LocalToWorld.from_pretrained(file, allow_fresh=True)
        assert torch.equal(loaded.decoder.embed.weight, dust3r["decoder_embed.weight"])

    def test_croco_fills_both_decoders_with_its_one(self, croco, tmp_path: Path) -> None:
        loaded = ImageToPoints.from_pretrained(write(croco, tmp_path / "croco.pth"), allow_fresh=True)
        weight = croco["dec_blocks.1.cross_attn.projq.weight"]
        for blocks in (loaded.decoder.reference_blocks, loaded.decoder.source_blocks):
            assert torch.equal(blocks[1].cross_attention.query.weight, weight)


class TestMisfits:
    """Errors name the file and the keys."""

    def test_our_own_config_says_which_model_it_is(self, l2w, tmp_path: Path) -> None:
        folder = l2w.save_pretrained(tmp_path / "l2w")
        with pytest.raises(CheckpointError, match=r"l2w/config\.json describes a LocalToWorld, not a ImageToPoints"):
            ImageToPoints.from_pretrained(folder)

    def test_our_own_weights_of_the_other_model_without_config(self, l2w, tmp_path: Path) -> None:
        file = l2w.save_pretrained(tmp_path).joinpath("model.safetensors").rename(tmp_path / "mine.safetensors")
        with pytest.raises(CheckpointError, match=r"mine\.safetensors") as error:
            ImageToPoints.from_pretrained(file)
        assert "unexpected: pointmap_embedding.patches" in str(error.value)
        assert "encoder.patch_embed.projection.weight" in str(error.value)

    def test_a_published_file_of_the_other_model(self, published_l2w, tmp_path: Path) -> None:
        file = write(published_l2w, tmp_path / "slam3r_l2w.pth")
        with pytest.raises(CheckpointError, match=r"slam3r_l2w\.pth \(SLAM3R Local-to-World\)") as error:
            ImageToPoints.from_pretrained(file)
        assert "correlation_head.norm.weight" in str(error.value)
        assert "pointmap_embedding.void_token" in str(error.value)

    def test_missing_unexpected_and_mismatched_are_listed(self, i2p, tmp_path: Path) -> None:
        state = i2p.state_dict()
        del state["correlation_head.norm.bias"]
        state["extra.weight"] = torch.zeros(2)
        state["decoder.norm.bias"] = torch.zeros(65)
        file = write(state, tmp_path / "bent.safetensors")
        with pytest.raises(CheckpointError) as error:
            ImageToPoints.from_pretrained(file)
        for part in (
            f"ImageToPoints does not fit {file}",
            "1 missing: correlation_head.norm.bias",
            "1 unexpected: extra.weight",
            "1 of another shape: decoder.norm.bias ((65,) in the checkpoint, (64,) in the model)",
        ):
            assert part in str(error.value)

    def test_not_strict_loads_what_fits_and_keeps_the_report(self, i2p, tmp_path: Path, caplog) -> None:
        state = i2p.state_dict()
        del state["correlation_head.norm.bias"]
        state["extra.weight"] = torch.zeros(2)
        loaded = ImageToPoints.from_pretrained(write(state, tmp_path / "bent.pth"), strict=False)
        report = loaded.load_report
        assert report is not None and not report.fits
        assert (report.missing, report.unexpected) == (["correlation_head.norm.bias"], ["extra.weight"])
        assert torch.equal(loaded.encoder.blocks[0].mlp.fc1.weight, i2p.encoder.blocks[0].mlp.fc1.weight)
        assert "extra.weight" in caplog.text

    def test_a_config_that_does_not_build_the_model(self, i2p, tmp_path: Path) -> None:
        i2p.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text('{"model": "ImageToPoints", "depht": 3}')
        with pytest.raises(CheckpointError, match="depht"):
            ImageToPoints.from_pretrained(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(CheckpointError, match=r"config\.json is not valid JSON"):
            ImageToPoints.from_pretrained(tmp_path)


class TestUnreadable:
    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="nowhere is neither a file, nor a folder, nor a hub id"):
            ImageToPoints.from_pretrained(tmp_path / "nowhere")
        with pytest.raises(CheckpointError, match=r"no checkpoint at .*gone\.pth"):
            read_state_dict(tmp_path / "gone.pth")

    def test_a_missing_file_with_one_folder_is_not_taken_for_a_hub_id(self) -> None:
        with pytest.raises(CheckpointError, match=r"checkpoints/gone\.safetensors is neither a file"):
            ImageToPoints.from_pretrained("checkpoints/gone.safetensors")

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"holds none of model\.safetensors, pytorch_model\.bin"):
            ImageToPoints.from_pretrained(tmp_path)

    @pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    def test_a_truncated_file(self, published_i2p, tmp_path: Path, name: str, share: float) -> None:
        file = write(published_i2p, tmp_path / name)
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match=rf"{re.escape(str(file))} is (not a readable checkpoint|empty)"):
            ImageToPoints.from_pretrained(file)

    @pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
    def test_a_file_of_something_else(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("<html>Please log in to download.</html>")
        with pytest.raises(CheckpointError, match=name):
            ImageToPoints.from_pretrained(tmp_path)

    @pytest.mark.parametrize("content", [[1, 2], {"model": {"weight": "a word"}}, torch.zeros(3)])
    def test_a_torch_file_without_a_state_dict(self, tmp_path: Path, content) -> None:
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match=r"odd\.pth holds no state dict"):
            ImageToPoints.from_pretrained(tmp_path / "odd.pth")

    def test_a_pickle_that_would_run_something_is_refused_unread(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"

        class Attack:
            def __reduce__(self):
                return open, (str(victim), "w")

        torch.save({"model": {"weight": torch.zeros(2)}, "args": Attack()}, tmp_path / "evil.pth")
        with pytest.raises(CheckpointError, match=r"evil\.pth is not a readable checkpoint"):
            ImageToPoints.from_pretrained(tmp_path / "evil.pth")
        assert not victim.exists()


class TestHub:
    """No test reaches the network: the suite runs with HF_HUB_OFFLINE=1."""

    def test_an_id_that_is_not_cached_offline(self) -> None:
        with pytest.raises(CheckpointError, match="siyan824/slam3r_none is neither in the local hub cache nor reach"):
            ImageToPoints.from_pretrained("siyan824/slam3r_none")

    @pytest.mark.parametrize("repository", ["siyan824/slam3r_i2p", "some-one/model-v1.0"])
    def test_files_are_fetched_by_id_and_revision(self, i2p, tmp_path, monkeypatch, repository: str) -> None:
        folder = i2p.save_pretrained(tmp_path)
        asked = []

        def download(repo_id: str, filename: str, revision: str | None = None) -> str:
            asked.append((repo_id, filename, revision))
            return str(folder / filename)

        monkeypatch.setattr("common.checkpoints.location.hf_hub_download", download)
        assert_same_weights(ImageToPoints.from_pretrained(repository, revision="v2"), i2p)
        assert asked == [(repository, "model.safetensors", "v2"), (repository, "config.json", "v2")]

    def test_a_repository_without_weights(self, monkeypatch) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        def download(*args, **kwargs):
            raise EntryNotFoundError("404")

        monkeypatch.setattr("common.checkpoints.location.hf_hub_download", download)
        with pytest.raises(CheckpointError, match=r"someone/empty on the hub holds none of model\.safetensors"):
            locate("someone/empty")

    def test_an_id_that_the_hub_does_not_allow(self) -> None:
        with pytest.raises(CheckpointError, match="some one/model"):
            ImageToPoints.from_pretrained("some one/model")

    def test_push_creates_the_repository_and_uploads_the_folder(self, i2p, monkeypatch) -> None:
        calls: dict[str, object] = {}

        class Api:
            def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
                calls["created"] = (repo_id, private, exist_ok)

            def upload_folder(self, repo_id: str, folder_path: str) -> str:
                calls["uploaded"] = (repo_id, sorted(path.name for path in Path(folder_path).iterdir()))
                calls["dtype"] = load_file(Path(folder_path) / "model.safetensors")["decoder.norm.bias"].dtype
                return "https://example.org/commit"

        monkeypatch.setattr("common.checkpoints.hub.HfApi", Api)
        address = i2p.push_to_hub("me/mine", private=True, dtype=torch.float16)
        assert address == "https://example.org/commit"
        assert calls["created"] == ("me/mine", True, True)
        assert calls["uploaded"] == ("me/mine", ["config.json", "model.safetensors"])
        assert calls["dtype"] == torch.float16


class TestInitialized:
    """Starting a training from other weights."""

    def test_nothing_to_start_from(self, i2p) -> None:
        assert initialized(i2p) is i2p

    def test_from_dust3r_keeps_what_the_family_never_holds(self, dust3r, tmp_path: Path) -> None:
        model = ImageToPoints(**SIZES)
        before = model.correlation_head.mlp.fc1.weight.clone()
        initialized(model, write(dust3r, tmp_path / "dust3r.pth"))
        assert torch.equal(model.correlation_head.mlp.fc1.weight, before)
        assert torch.equal(model.decoder.norm.bias, dust3r["dec_norm.bias"])

    def test_one_of_our_models_from_the_other(self, i2p, l2w, tmp_path: Path) -> None:
        folder = i2p.save_pretrained(tmp_path)
        model = LocalToWorld(**SIZES)
        with pytest.raises(CheckpointError, match=r"cannot start LocalToWorld .* 3 missing: pointmap_embedding"):
            initialized(model, folder)
        initialized(model, folder, allow_missing=["pointmap_embedding."])
        assert torch.equal(model.decoder.embed.weight, i2p.decoder.embed.weight)

    def test_another_size_is_an_error(self, i2p, tmp_path: Path) -> None:
        folder = i2p.save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match=r"of another shape: .*decoder\.embed\.weight"):
            initialized(ImageToPoints(**{**SIZES, "decoder_width": 128}), folder)
