"""The page: inputs and parameters on one side, the view and the results on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from common.app.contract import System
from common.app.inputs import FILES, FOLDER, KINDS, SAMPLE, VIDEO_SUFFIXES, next_step
from common.app.jobs import message
from common.app.pages.actions import Actions
from common.app.pages.controls import UPDATE_VIEW, option_controls
from common.app.pages.result_panel import NO_OTHER_WORK, ResultPanel, build_results
from common.app.pages.style import TITLE
from common.app.scenes import SceneStore
from common.app.settings import Limits
from common.data.sources.images import IMAGE_SUFFIXES

_NOTHING_YET = '<div class="viewer">The reconstruction grows here as frames are registered.</div>'
_SHOW_VIEW = """() => {
  const place = document.getElementById("status");
  if (window.innerWidth < 640) place.scrollIntoView({ behavior: "smooth" });
}"""
"""On a phone the view is below the inputs."""


@dataclass
class _Page:
    """The components that events join."""

    token: Any
    inputs: list[Any] = field(default_factory=list)
    """Kind, files, folder, frames per second, system, model."""
    options: list[Any] = field(default_factory=list)
    run: Any = None
    cancel: Any = None
    status: Any = None


def build_page(systems: Sequence[System], scenes: SceneStore, limits: Limits) -> gr.Blocks:
    """The application for some systems, of which the first is chosen at the beginning."""
    actions = Actions(systems, scenes, limits)
    with gr.Blocks(title=TITLE, delete_cache=(600, int(limits.hours * 3600)), analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}\nPictures or a video of one place, to points, cameras and more.")
        page = _Page(gr.State(None, time_to_live=limits.hours * 3600, delete_callback=scenes.drop))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                _build_inputs(page, systems)
            with gr.Column(scale=5, min_width=320):
                page.status = gr.HTML(message(next_step(SAMPLE, None, None)), elem_id="status")
                frame = gr.HTML(_NOTHING_YET, elem_id="view")
                panel = build_results(page.token, page.status, actions)
        _connect(page, panel, actions, frame)
        blocks.load(None, js=UPDATE_VIEW, inputs=panel.view, api_visibility="private")
    blocks.queue(max_size=limits.waiting, default_concurrency_limit=8)
    return blocks


def _build_inputs(page: _Page, systems: Sequence[System]) -> None:
    first = systems[0]
    kind = gr.Radio(list(KINDS), value=SAMPLE, label="Input")
    types = [*IMAGE_SUFFIXES, *VIDEO_SUFFIXES]
    files = gr.File(file_count="multiple", file_types=types, label=FILES, visible=False, height=160)
    folder = gr.File(file_count="directory", label=FOLDER, visible=False, height=160)
    fps = gr.Slider(0.5, 30, value=3, step=0.5, label="Frames per second of a video", visible=False)

    def show_input(chosen: str) -> list[Any]:
        return [gr.update(visible=chosen == wanted) for wanted in (FILES, FOLDER, FILES)]

    kind.change(show_input, kind, [files, folder, fps], queue=False, api_visibility="private")
    system = gr.Radio([one.name for one in systems], value=first.name, label="System", visible=len(systems) > 1)
    model = gr.Radio(list(first.models), value=first.models[0], label="Model")
    with gr.Row():
        page.run = gr.Button("Reconstruct", variant="primary", elem_id="run", min_width=120)
        page.cancel = gr.Button("Cancel", elem_id="cancel", min_width=80)
    controls, groups = option_controls(systems)

    def show_system(name: str) -> list[Any]:
        models = next(list(one.models) for one in systems if one.name == name)
        visible = [gr.update(visible=one.name == name) for one in systems]
        return [gr.update(choices=models, value=models[0]), *visible, *visible]  # basic options, then the others

    system.change(show_system, system, [model, *groups], queue=False, api_visibility="private")
    page.inputs = [kind, files, folder, fps, system, model]
    page.options = [control for one in systems for control in controls[one.name]]


def _connect(page: _Page, panel: ResultPanel, actions: Actions, frame: Any) -> None:
    begun = page.run.click(actions.begin, page.token, [page.token, frame, page.status], queue=False, api_name="begin")
    page.run.click(None, None, None, js=_SHOW_VIEW, api_visibility="private")
    begun.then(
        actions.run,
        [page.token, *page.inputs, *page.options],
        [page.status, *panel.view[:3], *panel.results],
        **NO_OTHER_WORK,
        api_name="run",
        show_progress="hidden",
    )
    page.cancel.click(actions.cancel, page.token, page.status, queue=False, api_visibility="private")
    kind, files, folder = page.inputs[:3]
    gr.on(
        [kind.change, files.change, folder.change],
        actions.input_changed,
        [page.token, kind, files, folder],
        page.status,
        queue=False,
        api_visibility="private",
    )
