"""Event handlers of the page. A visitor's data is found by the token in the page's state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from common.app.bundle import write_bundle
from common.app.contract import Outcome, System
from common.app.inputs import FOLDER, next_step, open_input, plain_sentence
from common.app.jobs import Job, message
from common.app.pages.controls import option_values, view_updates
from common.app.pages.wording import describe, figures_table, gallery, legend, view_frame
from common.app.scenes import SceneStore, StoredScene
from common.app.settings import Limits
from common.export.mesh import mesh_of_cloud, write_mesh_glb

_NOTHING = "There is no finished reconstruction yet."
_RESULTS = 7
"""Components besides the status that a run fills."""


class Actions:
    """The functions behind the page."""

    def __init__(self, systems: Sequence[System], scenes: SceneStore, limits: Limits) -> None:
        self._systems, self._scenes, self._limits = list(systems), scenes, limits

    def begin(self, token: str | None) -> tuple[str, Any, str]:
        """Make the visitor known, and show the view, which follows the run by itself."""
        scene = self._scenes.find(token)
        if scene is not None:
            scene.unwanted = False
        if token is None or scene is None:
            token = self._scenes.add()
            return token, view_frame(token), message("Waiting for a free place.")
        return token, gr.skip(), message("Waiting for a free place.")

    def run(self, token: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Reconstruct; yields status, the first view controls, figures, strip, legend and the last tab."""
        scene = self._scenes.find(token)
        if scene is None:
            yield _said("This session is over; load the page again.", _RESULTS)
            return
        if scene.unwanted:
            yield message("Cancelled."), *(gr.skip() for _ in range(_RESULTS))
            return
        kind, files, folder, fps, system_name, model, *options = values
        uploads = folder if kind == FOLDER else files
        watcher = scene.start()
        system, chosen = self._system(system_name, options)

        def work() -> Outcome:
            with open_input(kind, uploads, float(fps), self._limits) as source:
                return system.run(source, model, chosen, watcher)

        job = Job(work, watcher, lambda error: plain_sentence(error, uploads))
        for progress in job:
            scene.last_seen = time.monotonic()
            yield progress, *(gr.skip() for _ in range(_RESULTS))
        scene.outcome, scene.running = job.result, False
        if job.result is None:
            yield (
                _said(job.error, _RESULTS)
                if job.error
                else (message("Cancelled."), *(gr.skip() for _ in range(_RESULTS)))
            )
            return
        yield _results(job.result)

    def input_changed(
        self, token: str | None, kind: str, files: Sequence[str] | None, folder: Sequence[str] | None
    ) -> Any:
        """Say what is chosen, unless a run is reporting."""
        scene = self._scenes.find(token)
        return gr.skip() if scene is not None and scene.running else message(next_step(kind, files, folder))

    def cancel(self, token: str | None) -> Any:
        """Stop the visitor's work at its next step."""
        scene = self._scenes.find(token)
        if scene is None:
            return message("Nothing is running.")
        scene.watcher.cancel()
        scene.unwanted = not scene.running
        return message("Stopping.") if scene.running else gr.skip()

    def write_files(self, token: str | None, level: float) -> tuple[Any, Any]:
        """Files to download with the points of a level (`common.app.levels`)."""
        found = self._finished(token)
        if found is None:
            return _said(_NOTHING, 1)
        scene, outcome = found
        folder = scene.folder / "files"
        written = write_bundle(folder, outcome.cloud, outcome.frames, outcome.levels.threshold(level))
        if outcome.write_more is not None:
            written += outcome.write_more(folder)
        if scene.mesh is not None:
            written.append(write_mesh_glb(folder / "mesh.glb", scene.mesh, outcome.cameras))
        count = int(outcome.levels.chosen(outcome.cloud.confidence, level).sum())
        return message(f"The files hold {count:,} points."), [str(path) for path in written]

    def show(self, token: str | None, kind: str, level: float) -> Iterator[tuple[Any, Any]]:
        """Make the mesh when it is to be shown and there is none."""
        found = self._finished(token)
        if kind == "Mesh" and (found is None or found[0].mesh is None):
            yield from self.make_mesh(token, level)
        else:
            yield gr.skip(), gr.skip()

    def make_mesh(self, token: str | None, level: float) -> Iterator[tuple[Any, Any]]:
        """A mesh of the points of a level, in the view."""
        found = self._finished(token)
        if found is None:
            yield _said(_NOTHING, 1)
            return
        scene, outcome = found
        cloud, keep = outcome.cloud, outcome.levels.chosen(outcome.cloud.confidence, level)
        watcher = scene.watch()
        watcher.report("making a mesh")
        job = Job(lambda: mesh_of_cloud(cloud.points[keep], cloud.colors[keep], outcome.cameras), watcher)
        for progress in job:
            yield progress, gr.skip()
        if job.result is None or not len(job.result.triangles):
            yield _said(job.error or "There are too few points for a mesh; choose more of them.", 1)
            return
        scene.mesh = job.result
        yield message(f"The mesh has {len(job.result.triangles):,} triangles."), gr.update(value="Mesh")

    def make_film(self, token: str | None) -> Iterator[tuple[Any, Any]]:
        """A film of new views, by systems that can."""
        found = self._finished(token)
        if found is None or found[1].film is None:
            yield _said(_NOTHING if found is None else "This system makes no films; Uni3R does.", 1)
            return
        scene, film = found[0], found[1].film
        watcher = scene.watch()
        job = Job(lambda: film(scene.folder, watcher), watcher)
        for progress in job:
            yield progress, gr.skip()
        path: Path | None = job.result
        yield _said(job.error or "Cancelled.", 1) if path is None else (message("The film is ready."), str(path))

    def find_words(self, token: str | None, words: str) -> Iterator[tuple[Any, Any]]:
        """Heat maps of words, by systems that understand them."""
        found = self._finished(token)
        asked = list(dict.fromkeys(word.strip() for word in (words or "").split(",") if word.strip()))
        if found is None or found[1].search is None or not asked:
            reason = "Write some words first." if found and found[1].search else "This model understands no words."
            yield _said(_NOTHING if found is None else reason, 1)
            return
        search, watcher = found[1].search, found[0].watch()
        watcher.report("looking")
        job = Job(lambda: search(asked), watcher)
        for progress in job:
            yield progress, gr.skip()
        if job.result is None:
            yield _said(job.error or "Cancelled.", 1)
            return
        yield (
            message("Bright is where a word fits best."),
            gr.update(value=gallery(job.result), columns=max(2, min(4, len(job.result) // len(asked)))),
        )

    def _system(self, name: str, options: Sequence[Any]) -> tuple[System, dict[str, Any]]:
        start = 0
        for system in self._systems:
            end = start + len(system.options)
            if system.name == name:
                return system, option_values(system, options[start:end])
            start = end
        raise gr.Error("There is no such system.")

    def _finished(self, token: str | None) -> tuple[StoredScene, Outcome] | None:
        scene = self._scenes.find(token)
        return None if scene is None or scene.outcome is None else (scene, scene.outcome)


def _results(outcome: Outcome) -> tuple[Any, ...]:
    more = gr.update(visible=outcome.film is not None or outcome.search is not None)
    return (
        describe(outcome),
        *view_updates(outcome),
        figures_table(outcome),
        gallery(outcome.strip),
        legend(outcome),
        more,
    )


def _said(text: str, others: int) -> tuple[Any, ...]:
    return message(text, alert=True), *(gr.skip() for _ in range(others))
