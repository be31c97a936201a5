"""The command line: inputs are recognized, paths are literal, and a mistake is one line at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from common.command.line.arguments import read_arguments
from common.command.line.help_page import setting_keys, text_keys
from common.command.verb import Verb
from common.data.sources.image_files import FolderSource, GlobSource
from common.data.sources.open import source_from_config
from common.errors import ConfigurationError, InputError
from slam3r.command.verbs import LIVE, LOCALIZE, MERGE, RECONSTRUCT, REPLAY, SERVE
from tests.support.configs import compose_config
from tests.support.paths import ROOT
from uni3r.command.verbs import EVALUATE

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


def read(verb: Verb, *arguments: str) -> dict[str, Any]:
    """The values of the overrides that a command line makes, as Hydra and OmegaConf read them."""
    verb.register()
    words = read_arguments(verb, arguments, setting_keys(verb), text_keys(verb))
    overrides = OverridesParser.create().parse_overrides(words)
    return {override.key_or_group: OmegaConf.create({"value": override.value()}).value for override in overrides}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_literal(name: str, folder: Path) -> None:
    photographs(folder / name)
    assert read(RECONSTRUCT, name, "-o", name) == {"source": "folder", "source.path": name, "output": name}
    assert read(RECONSTRUCT, f"{name}/*.jpg")["source.pattern"] == f"{name}/*.jpg"
    assert GlobSource(f"{name}/*.jpg").length == 2
    assert FolderSource(name).length == 2
    assert read(REPLAY, name)["run"] == name
    if name != "null":  # says that there is none
        assert read(RECONSTRUCT, f"source.path={name}") == {"source": "folder", "source.path": name}
        assert read(RECONSTRUCT, "source=folder", f"output={name}")["output"] == name


def test_a_literal_name_comes_through_composition(folder: Path) -> None:
    name = "[x] ${a} = 'ü' 中,~"
    photographs(folder / name)
    config = compose(RECONSTRUCT, name, "-o", f"{name}/out")
    assert source_from_config(config.source).length == 2
    assert config.output == f"{name}/out"


def test_a_folder_called_like_a_missing_value(folder: Path) -> None:
    photographs(folder / "???")
    assert read(RECONSTRUCT, "???")["source.path"] == "./???"


@pytest.mark.parametrize(
    ("words", "kind", "argument", "value"),
    [
        (["photos"], "folder", "path", "photos"),
        (["tour.mp4"], "video", "path", "tour.mp4"),
        (["photos/*.jpg"], "glob", "pattern", "photos/*.jpg"),
        (["frames.txt"], "list", "path", "frames.txt"),
        (["photos/0.jpg", "photos/1.jpg"], "files", "paths", ["photos/0.jpg", "photos/1.jpg"]),
        (["camera:0"], "camera", "device", "0"),
        (["camera"], "camera", "device", "0"),
        (["camera:/dev/video2"], "camera", "device", "/dev/video2"),
        (["rtsp://me:secret@host/stream?a=b"], "camera", "device", "rtsp://me:secret@host/stream?a=b"),
        (["photos", "source=folder"], "folder", "path", "photos"),
        (["tour.mp4", "source=list"], "list", "path", "tour.mp4"),
    ],
)
def test_the_input_is_recognized(words: list[str], kind: str, argument: str, value: object, folder: Path) -> None:
    photographs(folder / "photos")
    (folder / "tour.mp4").touch()
    (folder / "frames.txt").touch()
    values = read(RECONSTRUCT, *words, "source.every=2")
    assert values == {"source": kind, f"source.{argument}": value, "source.every": 2}


def test_short_options(folder: Path) -> None:
    photographs(folder / "photos")
    values = read(RECONSTRUCT, "photos", "--output=out", "--model", "slam3r_large", "export.colmap=true")
    assert (values["output"], values["model"], values["export.colmap"]) == ("out", "slam3r_large", True)
    assert read(LIVE, "photos")["live"] is True


def test_a_folder_of_networks_is_a_model(folder: Path) -> None:
    photographs(folder / "photos")
    (folder / "my = tiny").mkdir()
    values = read(RECONSTRUCT, "photos", "--model", "my = tiny", "refinement=auto")
    assert (values["model"], values["model.name"], values["refinement"]) == ("_slam3r", "my = tiny", "auto")
    assert values["model.weights.local_to_world"] == "my = tiny/local_to_world"
    (folder / "slam3r_large").mkdir()
    assert read(RECONSTRUCT, "photos", "--model", "slam3r_large")["model"] == "slam3r_large", "a known name is no path"


def test_some_commands_take_a_run_and_further_words(folder: Path) -> None:
    (folder / "c=d.jpg").touch()
    assert read(LOCALIZE, "out", "a b.jpg", "c=d.jpg") == {"run": "out", "pictures": ["a b.jpg", "c=d.jpg"]}
    assert read(LOCALIZE, "out") == {"run": "out"}
    assert read(MERGE, "a", "b", "-o", "c") == {"run": "a", "others": ["b"], "output": "c"}


def test_uni3r_evaluates_its_own_model_unless_told_otherwise() -> None:
    assert read(EVALUATE) == {"benchmark": "uni3r_rooms", "model": "uni3r_tiny"}
    chosen = read(EVALUATE, "uni3r_scannet", "--model", "uni3r_multiview")
    assert chosen == {"benchmark": "uni3r_scannet", "model": "uni3r_multiview"}


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
