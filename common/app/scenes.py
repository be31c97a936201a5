"""Per-visitor state: a run, its result, a folder."""

from __future__ import annotations

import math
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.app.contract import Outcome, Watcher
from common.app.levels import levels_by_share
from common.app.packing import Drawn, pack
from common.export.mesh import Mesh


@dataclass
class StoredScene:
    """State of one visitor."""

    folder: Path
    """For files; goes with the visitor."""
    watcher: Watcher = field(default_factory=Watcher)
    outcome: Outcome | None = None
    mesh: Mesh | None = None
    running: bool = False
    """The networks are at work."""
    unwanted: bool = False
    """The run was cancelled while it waited for its turn."""
    runs: int = 0
    """Rises with every run, so that the viewer knows a new one from a frame more."""
    last_seen: float = field(default_factory=time.monotonic)

    @property
    def version(self) -> str:
        """Changes whenever there is something else to draw."""
        stage = self.watcher.version if self.running else f"ended{'' if self.mesh is None else id(self.mesh)}"
        return f"{self.runs}.{stage}"

    def start(self) -> Watcher:
        """Forget the last run, begin a new one."""
        self.watcher, self.outcome, self.mesh = Watcher(), None, None
        self.runs, self.running = self.runs + 1, True
        return self.watcher

    def watch(self) -> Watcher:
        """A watcher for other work on the finished run, in place of the last one."""
        self.watcher = Watcher()
        return self.watcher

    def packed(self) -> bytes:
        """Current content for the viewer; see `pack`."""
        version, outcome = self.version, self.outcome
        if outcome is None:
            cloud, cameras = self.watcher.grown()
            levels = levels_by_share(cloud.confidence)
            return pack(version, Drawn(cloud, cameras, levels.thresholds), final=not self.running)
        drawn = Drawn(
            outcome.cloud,
            outcome.cameras,
            outcome.levels.thresholds,
            outcome.splats,
            self.mesh,
            outcome.before,
        )
        return pack(version, drawn, final=True)


class SceneStore:
    """All visitors, by a token that cannot be guessed."""

    def __init__(self, folder: Path, hours: float = 2.0) -> None:
        """
        Args:
            folder: for the files of all; made if need be.
            hours: after which a visitor who was not seen is forgotten.
        """
        self._folder, self._seconds = folder, hours * 3600
        self._scenes: dict[str, StoredScene] = {}
        self._lock = threading.Lock()

    def add(self) -> str:
        """A new visitor's token."""
        self._forget_old()
        token = secrets.token_urlsafe(24)
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        with self._lock:
            self._scenes[token] = StoredScene(folder)
        return token

    def add_finished(self, outcome: Outcome) -> str:
        """Token of a scene that is there already; it stays as long as this store."""
        token = self.add()
        scene = self._scenes[token]
        scene.start()
        scene.outcome, scene.mesh, scene.running, scene.last_seen = outcome, outcome.mesh, False, math.inf
        return token

    def find(self, token: str | None) -> StoredScene | None:
        """A visitor's scene; None for a token that is not (any more)."""
        scene = self._scenes.get(token or "")
        if scene is not None:
            scene.last_seen = max(scene.last_seen, time.monotonic())
        return scene

    def drop(self, token: str | None) -> None:
        """A visitor left: the run stops, the files go."""
        with self._lock:
            scene = self._scenes.pop(token or "", None)
        if scene is not None:
            scene.watcher.cancel()
            shutil.rmtree(scene.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for token in [token for token, scene in list(self._scenes.items()) if now - scene.last_seen > self._seconds]:
            self.drop(token)
