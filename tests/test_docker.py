"""The images cannot be built here. What can be said without: they take the same steps as a checkout, and start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.configuration import to_dataclass
from slam3r.service.settings import HttpSettings, ServeConfiguration
from tests.support.configs import compose_config

try:  # in the standard library from Python 3.11 on
    import tomllib
except ModuleNotFoundError:
    tomllib = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[1]
SETUP = (ROOT / "scripts" / "setup.sh").read_text()


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's instructions by stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, rest in instructions():
        if instruction == "FROM":
            name = rest.rpartition(" AS ")[2]
        found.setdefault(name, []).append((instruction, rest))
    return found


def services() -> dict[str, dict[str, Any]]:
    """Services of docker-compose.yml."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def starts(command: list[str]) -> None:
    """The script is there, and its configuration takes the command's overrides."""
    python, script, *overrides = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in command]
    assert python == "python" and (ROOT / script).is_file()
    config = compose_config(Path(script).stem, overrides)
    if script == "scripts/serve.py":
        to_dataclass(config, ServeConfiguration)


def test_both_runtimes_are_installed_by_the_set_up_script_and_nothing_else() -> None:
    for runtime in ("cuda", "cpu"):
        assert [rest for name, rest in stages()[runtime] if name == "RUN"] == ['bash scripts/setup.sh "$EXTRAS"']
    everything = " ".join(rest for name, rest in instructions() if name == "RUN")
    assert not re.search(r"\b(pip|conda|uv|curl|wget|git)\b", everything)


def test_root_installs_the_system_packages_that_the_set_up_script_and_the_doctor_name() -> None:
    """The set-up script cannot: it does not run as root there."""
    base = stages()["base"]
    install = next(rest for name, rest in base if name == "RUN" and "apt-get install" in rest)
    installed = set(re.search(r"--no-install-recommends ([^&]*)", install)[1].split())  # type: ignore[index]
    wanted = set(re.findall(r"\) echo ([a-z0-9.-]+) ;;", SETUP))
    optional = set(
        re.findall(r"apt-get install ([a-z0-9-]+)", (ROOT / "common" / "command" / "doctor" / "machine.py").read_text())
    )
    assert len(wanted) > 5 and installed == wanted | optional
    names = [name for name, _ in base]
    assert ("USER", "1000") in base and names.index("USER") < names.index("COPY")
    assert "USER" not in [name for stage in ("cuda", "cpu", "service") for name, _ in stages()[stage]]


def test_the_base_is_pinned_and_new_enough() -> None:
    image = stages()["base"][0][1].split()[0]
    version = re.fullmatch(r"python:(\d+)\.(\d+)\.(\d+)-slim-\w+", image)
    assert version is not None, f"{image} is not a full version"
    assert (int(version[1]), int(version[2])) >= (3, 10)


@pytest.mark.skipif(tomllib is None, reason="reads pyproject.toml, for which Python 3.10 has nothing")
def test_the_extras_exist() -> None:
    extras = next(rest for name, rest in instructions() if name == "ARG" and rest.startswith("EXTRAS="))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(known)


def test_what_the_images_run_starts() -> None:
    commands = [json.loads(rest) for name, rest in instructions() if name == "CMD"]
    for command in commands:
        starts(command) if command[1] != "scripts/doctor.py" else None
    run = {name: service["command"] for name, service in services().items() if name != "broker"}
    assert set(run) == {"worker", "worker-gpu", "app"}
    for command in run.values():
        starts(command)


def test_health_is_asked_where_the_service_answers() -> None:
    pytest.importorskip("aio_pika", reason="needs the extra: service")
    port = compose_config("serve").service.http.port
    assert port == HttpSettings().port
    check = next(rest for name, rest in instructions() if name == "HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/healthz" in check
    assert ("EXPOSE", str(port)) in stages()["service"]
    assert services()["worker"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_nothing_secret_is_written_down_and_nothing_listens_to_the_world() -> None:
    compose_text = (ROOT / "docker-compose.yml").read_text()
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|USER)\w*)([^}]*)\}", compose_text):
        assert name[1].startswith(":?"), f"{name[0]} has a value of its own"
    assert not [
        rest for name, rest in instructions() if name in ("ENV", "ARG") and re.search("PASS|TOKEN|SECRET", rest)
    ]
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        if name != "broker":
            assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]


def test_the_worker_is_given_what_its_configuration_reads() -> None:
    read = set(re.findall(r"oc\.env:(\w+)", (ROOT / "configs" / "serve.yaml").read_text()))
    assert {"RABBITMQ_HOST", "RABBITMQ_URL", "ENABLE_MESH_GENERATION", "SAVE_SEGMENTS", "SEGMENT_OUTPUT_DIR"} == read
    for worker in ("worker", "worker-gpu"):
        assert set(services()[worker]["environment"]) == read - {"RABBITMQ_HOST"}
    assert re.fullmatch(r"rabbitmq:\d+\.\d+\.\d+", services()["broker"]["image"])
