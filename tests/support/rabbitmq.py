"""A RabbitMQ of the tests' own: a plain process on a free port, with its data under the tests' temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server")
_CONTROLS = ("/usr/lib/rabbitmq/bin/rabbitmqctl", "/opt/homebrew/sbin/rabbitmqctl")
_START_SECONDS = 300


class RabbitMQ:
    """One broker with the plugin for consistent hashing, and TLS where openssl makes certificates. Keeps its queues
    over `stop` and `start`."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.port, self._distribution, self._names = _free_port(), _free_port(), _free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._process: subprocess.Popen | None = None
        self._tls_port = _free_port()
        self.authority = make_certificates(folder / "tls")
        """Certificate of the authority that vouches for the broker; None where there is no TLS."""
        (folder / "plugins").write_text("[rabbitmq_consistent_hash_exchange].\n")
        (folder / "rabbit.conf").write_text(
            "" if self.authority is None else _tls_lines(folder / "tls", self._tls_port)
        )

    def tls_url(self, authority: Path) -> str:
        """The URL for TLS, with the authority that is trusted."""
        return f"amqps://guest:guest@localhost:{self._tls_port}/?cafile={authority}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program], env=self._environment(), stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start: {(self._folder / 'output.txt').read_text()[-800:]}")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbit.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def stop(self) -> None:
        """End it and everything that it started, at once: like a machine that fails."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it for good, with Erlang's daemon of names, which is a process apart."""
        self.stop()
        for daemon in psutil.process_iter(["name", "environ"]):
            if daemon.info["name"] == "epmd" and (daemon.info["environ"] or {}).get("HOME") == str(self._folder):
                daemon.kill()

    def freeze(self) -> None:
        """Stop its processes: connections stay, and nothing answers. `thaw` lets it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def refuse_publishers(self, refused: bool) -> None:
        """Raise the alarm of a broker that is short of memory, or end it. It does not read from those who publish."""
        self._control("set_vm_memory_high_watermark", "0.0001" if refused else "0.6")

    def add_user(self, name: str, configure: str, write: str, read: str) -> str:
        """Make a user with permissions (regular expressions); returns a URL with its password."""
        self._control("add_user", name, "secret")
        self._control("set_permissions", name, configure, write, read)
        return f"amqp://{name}:secret@127.0.0.1:{self.port}/"

    def _control(self, *arguments: str) -> None:
        program = next(place for place in _CONTROLS if os.access(place, os.X_OK))
        command = [program, "--node", f"tests{self.port}@localhost", *arguments]
        subprocess.run(command, env=self._environment(), check=True, capture_output=True, timeout=_START_SECONDS)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.settimeout(2)
                link.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(link.recv(1))
        except OSError:
            return False


def find_program() -> str | None:
    """The server's script that any user may run; the one on the path of Debian is for root alone."""
    return next((place for place in _PLACES if os.access(place, os.X_OK)), shutil.which("rabbitmq-server"))


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker for the session; skips where RabbitMQ is not installed."""
    program = find_program()
    if program is None:
        pytest.skip("RabbitMQ is not installed (bash scripts/test.sh installs it where it may)")
    broker = RabbitMQ(program, tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


def make_certificates(folder: Path) -> Path | None:
    """An authority ``authority.pem``, and ``server.pem`` of it for this machine; None without openssl."""
    if shutil.which("openssl") is None:
        return None
    folder.mkdir()
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for command in (
        f"req -x509 {key} -days 2 -keyout authority.key -out authority.pem",
        f"req {key} -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names "
        "-out server.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder / "authority.pem"


def _tls_lines(folder: Path, port: int) -> str:
    return (
        f"listeners.ssl.default = 127.0.0.1:{port}\n"
        f"ssl_options.cacertfile = {folder / 'authority.pem'}\n"
        f"ssl_options.certfile = {folder / 'server.pem'}\n"
        f"ssl_options.keyfile = {folder / 'server.key'}\n"
        "ssl_options.verify = verify_none\n"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
