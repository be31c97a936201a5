"""A disk that takes no more costs one line and leaves nothing half written under a final name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ("json", "ply", "picture", "film", "gif", "weights", "checkpoint", "folder")
"""Kinds of files that are written, all of more than 100 kB."""
PROGRAM = """
import contextlib, io, json, resource, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import save_file
from common.command.launch import clear_errors
from common.drawing.replay_film import GrowingMap, write_film
from common.drawing.settings import FilmSettings
from common.drawing.video import video_writer
from common.export.ply import write_ply
from common.export.result_folder import write_image
from common.files import atomic_folder, atomic_path, write_json
from common.training.checkpoint_io import WholeCheckpoints

points = np.zeros((9999, 3))
noise = np.random.default_rng(0).integers(0, 255, (24, 240, 320, 3), np.uint8)

def film(place):
    with video_writer(place / 'film.mp4', (240, 320)) as write:
        for image in noise:
            write(image)

def gif(place):
    points, step = noise[:, 0, :, 0].astype(np.float32).reshape(-1, 3), np.zeros(2560, int)
    growing = GrowingMap(points, np.zeros((2560, 3), np.uint8), step, np.tile(np.eye(4), (24, 1, 1)), noise)
    write_film(place / 'film.gif', growing, FilmSettings(size=(240, 320), picture=0.9), progress=False)

def weights(place):
    with atomic_path(place / 'model.safetensors') as temporary:
        save_file({'w': torch.zeros(400_000)}, temporary)

def folder(place):
    with atomic_folder(place / 'views') as views:
        write_json(views / 'a.json', [1])
        write_json(views / 'b.json', list(range(200_000)))

kinds = {
    'json': lambda place: write_json(place / 'summary.json', list(range(200_000))),
    'ply': lambda place: write_ply(place / 'points.ply', points, np.zeros((9999, 3), np.uint8), np.zeros(9999)),
    'picture': lambda place: write_image(place / 'preview.png', noise.reshape(-1, 320, 3)),
    'film': film, 'gif': gif, 'weights': weights, 'folder': folder,
    'checkpoint': lambda place: WholeCheckpoints().save_checkpoint({'w': torch.zeros(400_000)}, place / 'step.ckpt'),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, write in kinds.items():
    place = Path(sys.argv[1]) / name
    place.mkdir()
    status, said = 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            clear_errors(write)(place)
        except SystemExit as stop:
            status = stop.code
        except Exception as error:
            status = repr(error)
    print(json.dumps([name, status, said.getvalue(), [path.name for path in place.iterdir()]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_one_line_and_no_partial_file(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    outcomes = {name: rest for name, *rest in map(json.loads, result.stdout.splitlines())}
    assert set(outcomes) == set(KINDS), result.stderr
    for name, (status, said, left) in outcomes.items():
        assert status == 2 and left == [], f"{name}: {status} {left} {said}"
        assert said.startswith("error: cannot write ") and said.count("\n") == 1, f"{name}: {said}"
