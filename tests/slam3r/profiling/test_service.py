"""The benchmark of the service, as users start it: it accounts for every frame. No test looks at time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.errors import InputError
from slam3r.models.description import Slam3rDescription, WeightPaths
from slam3r.profiling.service import load_pictures, service_rows
from slam3r.profiling.settings import ServiceWorkload
from tests.support.rabbitmq import RabbitMQ
from tests.support.script_runs import SCRIPTS, random_model

MODEL = Slam3rDescription(name="none", weights=WeightPaths("none", "none"))


def test_what_cannot_be_measured_is_one_clear_line() -> None:
    nowhere = ServiceWorkload(url="amqp://me:secret@127.0.0.1:1/")
    with pytest.raises(InputError, match=r"no broker at amqp://127\.0\.0\.1:1/") as refused:
        next(service_rows("none", MODEL, "float32", "cpu", nowhere))
    assert "secret" not in str(refused.value)
    with pytest.raises(InputError, match="frames_per_second"):
        next(service_rows("none", MODEL, "float32", "cpu", ServiceWorkload(loads=("sustained",))))


def test_the_pictures_are_a_walk_of_the_size_that_was_asked_for() -> None:
    pictures = load_pictures((96, 128))
    assert len(pictures) >= 10 and all(picture[:2] == b"\xff\xd8" for picture in pictures)


@pytest.mark.slow
def test_every_frame_of_a_load_is_accounted_for(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    output, url = tmp_path / "benchmark.json", rabbitmq.url
    model = [word.replace("model.", "models.tiny.") for word in random_model(tmp_path / "weights")]
    confidence = [f"models.tiny.confidence.{name}=0" for name in ("initial", "weak", "registered")]
    small = ["sizes=[tiny]", "dtypes=[float32]", "device=cpu", "threads=1", "service.image_size=64"]
    loads = [
        "stages=[service]",
        f"service.url='{url}'",
        "service.seconds=4",
        "service.loads=[founding,flat out,sustained,overload]",
        "service.sustained=[0.3,0.6]",
    ]
    subprocess.run(
        [sys.executable, str(SCRIPTS / "profile_speed.py"), *small, *loads, *model, *confidence, f"output={output}"],
        check=True,
        cwd=tmp_path,
    )
    rows = json.loads(output.read_text())["rows"]
    assert [row["stage"].partition(" (")[0] for row in rows] == [
        "service, founding",
        "service, flat out",
        "service, sustained",
        "service, sustained",
        "service, overload",
    ]
    for row in rows:
        of = row["details"]
        assert of["lost"] == 0 and of["sent"] == of["answered"] + of["dropped"] + of["waiting"]
        assert of["answered"] > 0 and of["repeated"] == 0 and row["peak_memory"] > 0
        assert of["first_pose_seconds"] > 0 and of["first_pose_processor_seconds"] > 0
    founding, flat_out, slow, sustained, overload = rows
    assert slow["details"]["offered_per_second"] < sustained["details"]["offered_per_second"]
    assert flat_out["details"]["processor_seconds_per_frame"]["worker"] > 0
    assert founding["seconds"] == founding["details"]["first_pose_seconds"]
    assert all(row["frames_per_second"] > 0 for row in (flat_out, sustained, overload))
    assert "latency" not in flat_out["details"]
    latency = sustained["details"]["latency"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] and latency["frames"] > 0
    assert min(latency["first_half"], latency["last_half"]) <= latency["p50"]
