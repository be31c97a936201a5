"""The conversion command on a miniature of a released file: its true structure, in parts, at toy size."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.checkpoints.conversion import convert_checkpoint, read_family
from common.checkpoints.parts import find_parts, whole_file
from common.errors import CheckpointError
from common.model_library import load_network
from tests.support.paths import ROOT
from tests.support.uni3r_parity import published_keys, weight_of
from uni3r.command.convert import convert
from uni3r.command.settings import ConvertCommand
from uni3r.models.description import Uni3rDescription
from uni3r.models.uni3r import Uni3R
from uni3r.models.vggt import VGGT

WIDTHS = {1024: 8, 2048: 16, 3072: 24, 4096: 32, 6144: 48, 8192: 64, 512: 8, 256: 8, 128: 4, 64: 8}
"""Published width -> width of the miniature. Heads follow from 64 channels each: one head everywhere."""


def _small(key: str, shape: list[int]) -> tuple[int, ...]:
    if key.startswith("lseg_feature_extractor.") or "track_head." in key:
        return (1,) * len(shape)  # dropped whatever their shapes
    if key.endswith("pos_embed"):
        return (1, shape[1], 8)
    if "feature_" in key or "gs_attr_proj.2" in key:  # the layout of the attributes is what it is
        return tuple({256: 8, 512: 16}.get(size, size) for size in shape)
    return tuple(WIDTHS.get(size, size) for size in shape)


def _miniature() -> dict[str, Tensor]:
    """Every name of a released file, blocks from number 4 on left away (one trunk keeps 4)."""

    def is_deep(key: str) -> bool:
        return any(f"blocks.{number}." in key for number in range(4, 24))

    keys = {key: shape for key, shape in published_keys().items() if not is_deep(key)}
    return {key: weight_of(key, torch.Size(_small(key, shape))) for key, shape in keys.items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pickle with a namespace, an epoch and an optimizer, split in three."""
    folder = tmp_path_factory.mktemp("released")
    state = _miniature()
    content = {
        "model": state,
        "args": argparse.Namespace(model="VG3R(config={})", lr=1e-4, layers=[1, 2]),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "scaler": {},
        "epoch": 99,
    }
    whole = folder / "2views.pth"
    torch.save(content, whole)
    data = whole.read_bytes()
    third = len(data) // 3 + 1
    for index, name in enumerate(("aa", "ab", "ac")):
        (folder / f"2views.pth.part_{name}").write_bytes(data[index * third : (index + 1) * third])
    whole.unlink()
    return folder


def _convert(released: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/convert.py", f"weights={released / '2views.pth'}", f"output={output}", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_parts_to_a_model_that_loads(released: Path, tmp_path: Path) -> None:
    run = _convert(released, tmp_path / "model", "license=theirs", "keep=[camera_head]")
    assert run.returncode == 0, run.stderr
    assert "takes intrinsics: yes" in run.stdout
    assert "of distiller.aggregator" in run.stdout and "of vggt.track_head" in run.stdout
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]

    model = Uni3R.from_pretrained(tmp_path / "model")
    assert model.load_report.fits and model.config.table_side == 16
    assert model.config.attributes.feature_channels == 64 and model.config.attributes.sh_degree == 3
    assert model.depth_head is None and model.camera_head is not None
    assert json.loads((tmp_path / "model" / "config.json").read_text())["metadata"]["license"] == "theirs"
    key = "vggt.aggregator.global_blocks.2.attn.proj.weight"
    weight = model.state_dict()["backbone.decoder.global_blocks.2.self_attention.projection.weight"]
    assert torch.equal(weight, weight_of(key, weight.shape))


def test_the_teacher_and_optional_parts(released: Path, tmp_path: Path) -> None:
    with whole_file(released / "2views.pth", tmp_path) as path:
        state, key_map = read_family(path, teacher=True)
        convert_checkpoint(state, key_map, VGGT, tmp_path / "teacher")
        state, key_map = read_family(path)
        kept = convert_checkpoint(state, key_map, Uni3R, tmp_path / "half", {"camera_head": True}, torch.float16)
    assert not (tmp_path / "2views.pth").exists()  # the parts put together are temporary
    teacher = VGGT.from_pretrained(tmp_path / "teacher")
    assert teacher.config.patch_size == 14 and teacher.config.table_side == 37
    assert teacher.camera_head is not None and teacher.depth_head is not None
    assert kept.dropped["vggt.depth_head"] == 62 and "vggt.camera_head" not in kept.dropped
    model = Uni3R.from_pretrained(tmp_path / "half")
    assert model.camera_head is not None
    assert next(model.parameters()).dtype == torch.float32


def test_a_file_without_the_embedding_of_the_intrinsics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told by its names, like the teacher, which may have been trained along and then has moments in the file."""
    state = {key: value for key, value in _miniature().items() if ".intrinsic_encoder." not in key}
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}
    torch.save({"model": state, "optimizer": moments, "epoch": 100}, tmp_path / "arbitrary_views.pth")
    networks = {"Uni3R": "uni3r.models.uni3r.Uni3R"}
    file, folder = tmp_path / "arbitrary_views.pth", tmp_path / "model"
    convert(ConvertCommand(weights=file, output=folder, scratch=tmp_path, networks=networks))
    shown = capsys.readouterr().out
    assert "takes intrinsics: no" in shown and "of distiller.aggregator" in shown
    model = Uni3R.from_pretrained(folder)
    assert model.config.intrinsics == "none" and model.load_report.fits
    description = Uni3rDescription(name="any", weights=str(folder))
    assert load_network(Uni3R, description.weights, description).config.intrinsics == "none"


def test_published_names_load_without_conversion(released: Path, tmp_path: Path) -> None:
    with whole_file(released / "2views.pth", tmp_path) as path:
        model = Uni3R.from_pretrained(path)
    assert model.load_report.family == "Uni3R" and model.load_report.fits


def test_a_missing_part_is_named(released: Path, tmp_path: Path) -> None:
    assert [path.name[-2:] for path in find_parts(released / "2views.pth.part_ab")] == ["aa", "ab", "ac"]
    for name in ("aa", "ac"):
        (tmp_path / f"2views.pth.part_{name}").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"2views\.pth\.part_ab is missing among the parts of 2views\.pth"):
        find_parts(tmp_path / "2views.pth")


def test_neither_file_nor_parts(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"no checkpoint at .*2views\.pth, nor parts of it \(2views\.pth\.part_aa"),
        whole_file(tmp_path / "2views.pth", tmp_path / "scratch"),
    ):
        pass
    assert not (tmp_path / "scratch").exists()


def test_a_file_that_lacks_a_layer_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    state = _miniature()
    del state["dpt_head.input_merger.0.weight"]
    torch.save({"model": state}, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=r"lacks attribute_head\.features\.image_branch\.weight"):
        convert_checkpoint(*read_family(tmp_path / "broken.pth"), Uni3R, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_tensors_are_no_family(tmp_path: Path) -> None:
    torch.save({"model": {"layer.weight": torch.ones(2)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no published family"):
        read_family(tmp_path / "other.pth")
