"""What people type: inputs are recognized, paths are literal, and a mistake is one line at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig

from common.command.line.arguments import read_arguments
from common.command.line.help_page import setting_keys, text_keys
from common.command.verb import Verb
from common.data.sources.open import source_from_config
from common.errors import ConfigurationError, InputError
from slam3r.command.verbs import LIVE, RECONSTRUCT, REPLAY, SERVE
from tests.support.configs import compose_config
from tests.support.paths import ROOT
from uni3r.command.verbs import EVALUATE, RENDER

NAMES = [
    *("my photos", "[x] 1", "a=b", "7", "1e5", "2024_05_01", "it's", 'q"q', "ü中", "a,b", "$HOME", "${x}", "~tilde"),
    *("k{1}", "a:b", "#x", "null", "-dash", "..x", "photos*", "a\\b", "'quoted'", " blank", "true", "@x", "%d"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photographs(folder: Path) -> Path:
    """A folder with two pictures."""
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes((ROOT / "common/app/assets/sample/frame_00.jpg").read_bytes())
    return folder


def compose(verb: Verb, *arguments: str) -> DictConfig:
    """The configuration that a command line makes."""
    verb.register()
    words = read_arguments(verb, arguments, setting_keys(verb), text_keys(verb))
    return compose_config(verb.config, [word for word in words if not word.startswith("--")])


@pytest.mark.parametrize("name", NAMES)
def test_names_are_literal(name: str, folder: Path) -> None:
    photographs(folder / name)
    for words in ([name], [f"source.path={name}"], ["source=folder", f"source.path={name}"]):
        if words == ["source=folder", "source.path=null"] or words == ["source.path=null"]:
            continue  # says that there is none
        config = compose(RECONSTRUCT, *words, "-o", name)
        assert config.output == name
        assert source_from_config(config.source).length == 2
    assert source_from_config(compose(RENDER, f"{name}/*.jpg").source).length == 2
    assert compose(REPLAY, name).run == name


def test_a_folder_called_like_a_missing_value(folder: Path) -> None:
    photographs(folder / "???")
    assert source_from_config(compose(RECONSTRUCT, "???").source).length == 2


@pytest.mark.parametrize(
    ("words", "kind", "argument", "value"),
    [
        (["photos"], "FolderSource", "path", "photos"),
        (["tour.mp4"], "VideoSource", "path", "tour.mp4"),
        (["photos/*.jpg"], "GlobSource", "pattern", "photos/*.jpg"),
        (["frames.txt"], "ListSource", "path", "frames.txt"),
        (["photos/0.jpg", "photos/1.jpg"], "FilesSource", "paths", ["photos/0.jpg", "photos/1.jpg"]),
        (["camera:0"], "CameraSource", "device", "0"),
        (["camera"], "CameraSource", "device", "0"),
        (["camera:/dev/video2"], "CameraSource", "device", "/dev/video2"),
        (["rtsp://me:secret@host/stream?a=b"], "CameraSource", "device", "rtsp://me:secret@host/stream?a=b"),
        (["photos", "source=folder"], "FolderSource", "path", "photos"),
        (["tour.mp4", "source=list"], "ListSource", "path", "tour.mp4"),
    ],
)
def test_the_input_is_recognized(words: list[str], kind: str, argument: str, value: object, folder: Path) -> None:
    photographs(folder / "photos")
    (folder / "tour.mp4").touch()
    (folder / "frames.txt").touch()
    source = compose(RECONSTRUCT, *words, "source.every=2").source
    assert source._target_.rpartition(".")[2] == kind
    assert (source[argument], source.every) == (value, 2)


def test_short_options(folder: Path) -> None:
    photographs(folder / "photos")
    config = compose(RECONSTRUCT, "photos", "--output=out", "--model", "slam3r_large", "export.colmap=true")
    assert (config.output, config.model.name, config.export.colmap) == ("out", "slam3r_large", True)
    assert compose(LIVE, "photos").live


def test_uni3r_evaluates_its_own_model_unless_told_otherwise() -> None:
    assert compose(EVALUATE).model.name == "uni3r_tiny"
    config = compose(EVALUATE, "uni3r_scannet", "--model", "uni3r_multiview")
    assert (config.benchmark.name, config.model.name) == ("uni3r_scannet", "uni3r_multiview")


@pytest.mark.parametrize(
    ("verb", "words", "message"),
    [
        (RECONSTRUCT, ["phtos"], "phtos does not exist; did you mean photos?"),
        (RECONSTRUCT, ["source.path=phtos"], "phtos does not exist; did you mean photos?"),
        (RECONSTRUCT, [], "no input: give a folder of images, a video, .* for example slam3r reconstruct photos"),
        (RECONSTRUCT, ["photos/0.jpg"], "single image; a reconstruction needs several"),
        (RECONSTRUCT, ["my", "photos"], "needs quotation marks: 'my photos'"),
        (RECONSTRUCT, ["photos", "--overwrite"], r"no option --overwrite: settings are .* mean overwrite=\.\.\.\?"),
        (RECONSTRUCT, ["photos", "--fps", "5"], "no option --fps: settings are .* mean source.fps"),
        (RECONSTRUCT, ["photos", "-o"], "-o needs a value"),
        (RECONSTRUCT, ["photos", "photos/0.jpg"], "photos is a folder among several inputs"),
        (SERVE, ["-o", "out"], "this command has no -o"),
        (SERVE, ["photos"], "expected key=value, got 'photos'"),
        (REPLAY, ["one", "two"], "expected key=value, got 'two'"),
    ],
)
def test_mistakes_are_told(verb: Verb, words: list[str], message: str, folder: Path) -> None:
    photographs(folder / "photos")
    photographs(folder / "my photos")
    verb.register()
    with pytest.raises((ConfigurationError, InputError)) as caught:
        read_arguments(verb, words, setting_keys(verb), text_keys(verb))
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)
