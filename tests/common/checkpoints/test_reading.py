"""Files that are no weights, weights that are no good, and old weights that are: a line each, before any work."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from common.checkpoints.reading import check_sizes, read_state_dict
from common.errors import CheckpointError
from slam3r.models import ImageToPoints
from slam3r.models import image_to_points as module

SIZES = {"encoder_width": 64, "encoder_depth": 1, "encoder_heads": 1}
SIZES |= {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 1}
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def one_line(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 500
    assert "weights_only" not in text and "trust" not in text, "never advise to switch safety off"
    return text


def test_files_from_before_torch_1_6_are_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    read = read_state_dict(tmp_path / "old.pth")
    assert read.keys() == STATE.keys() and torch.equal(read["a.weight"], STATE["a.weight"])


def test_lpips_reads_vgg_in_the_old_format(tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    from torchvision.models import vgg16

    from common.metrics.lpips import Lpips

    with torch.device("meta"):
        outline = vgg16(weights=None).features.state_dict()
    weights = {f"features.{name}": torch.zeros(value.shape) for name, value in outline.items()}
    torch.save(weights, tmp_path / "vgg16.pth", _use_new_zipfile_serialization=False)
    assert Lpips(weights=tmp_path / "vgg16.pth").network is not None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n<html lang=en>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n", "git lfs pull"),
        (b"PK\x03\x04 but no more", "not a readable checkpoint"),
        (os.urandom(4000), "not a readable checkpoint"),
        (b'{"error": "not found"}', "not a readable checkpoint"),
    ],
    ids=["empty", "page", "page without doctype", "lfs", "cut zip", "noise", "json"],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_downloads_that_went_wrong_are_told(tmp_path: Path, content: bytes, reason: str, suffix: str) -> None:
    (tmp_path / f"model.{suffix}").write_bytes(content)
    assert reason in one_line(tmp_path / f"model.{suffix}")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/pwned",)


@pytest.mark.parametrize("legacy", [False, True])
def test_objects_are_refused_by_name(tmp_path: Path, legacy: bool) -> None:
    torch.save({"model": Evil()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    assert "objects other than tensors" in one_line(tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")  # a bare pickle, written by hand
    one_line(tmp_path / "plain.pth")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({1: torch.zeros(2)}, "by int"),
        ({"a": torch.zeros(3, 3).to_sparse()}, "a is sparse"),
        ({"a": [1, 2]}, "no state dict"),
        ([torch.zeros(2)], "no state dict"),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path: Path, state: Any, reason: str) -> None:
    torch.save(state, tmp_path / "a.pth")
    assert reason in one_line(tmp_path / "a.pth")


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_files_are_told(tmp_path: Path, legacy: bool, share: float) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    cut(tmp_path / "a.pth", share)
    one_line(tmp_path / "a.pth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ImageToPoints(**SIZES).save_pretrained(tmp_path / "model")


CONFIGS = {
    "a list": ([1, 2], "a list, expected an object"),
    "a number": (3, "a int, expected an object"),
    "negative": ({**SIZES, "encoder_width": -64}, "encoder_width=-64"),
    "zero": ({**SIZES, "decoder_heads": 0}, "decoder_heads=0"),
    "absurdly deep": ({**SIZES, "encoder_depth": 10**9}, "encoder_depth=1000000000"),
    "absurdly wide": ({**SIZES, "encoder_width": 10**12}, "encoder_width=1000000000000"),
    "not finite": ({**SIZES, "mlp_ratio": float("nan")}, "mlp_ratio=nan"),
    "text for a number": ({**SIZES, "encoder_width": "wide"}, "encoder_width=.wide. is no number"),
    "indivisible": ({**SIZES, "encoder_heads": 7}, "model"),
    "an unknown entry": ({**SIZES, "colour": 3}, "do not build"),
    "of another model": ({"encoder_width": 128}, "does not fit"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_that_cannot_be_is_told_before_anything_large_is_built(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, reason = CONFIGS[kind]
    (folder / "config.json").write_text(json.dumps(content))
    built = []
    original = module.ImageToPoints.__init__

    def count(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        built.append(next(self.parameters()).device.type)

    monkeypatch.setattr(module.ImageToPoints, "__init__", count)
    begin = time.perf_counter()
    with pytest.raises(CheckpointError, match=reason) as caught:
        ImageToPoints.from_pretrained(folder)
    assert "cpu" not in built and time.perf_counter() - begin < 20
    assert str(folder) in str(caught.value)


def test_weights_with_nan_are_named(tmp_path: Path) -> None:
    model = ImageToPoints(**SIZES)
    with torch.no_grad():
        name, weight = next(iter(model.encoder.named_parameters()))
        weight.view(-1)[3] = torch.nan
    with pytest.raises(CheckpointError, match=rf"1 with NaN or infinite values: encoder\.{name}"):
        ImageToPoints.from_pretrained(model.save_pretrained(tmp_path))


def test_sizes_of_models_that_exist_pass() -> None:
    check_sizes({"encoder_width": 1024, "encoder_depth": 24, "mlp_ratio": 4.0, "channels": (256, 1024)}, 900, "here")
    check_sizes({"threshold": -1.5, "head": "dpt", "camera_head": True}, 10, "here")
