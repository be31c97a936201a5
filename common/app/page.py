"""The page: inputs and parameters on one side, the view and the results on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from common.app.actions import Actions
from common.app.contract import System
from common.app.controls import UPDATE_VIEW, option_controls, view_controls
from common.app.inputs import FILES, FOLDER, KINDS, SAMPLE, VIDEO_SUFFIXES
from common.app.jobs import message
from common.app.scenes import SceneStore
from common.app.settings import Limits
from common.data.sources.images import IMAGE_SUFFIXES

TITLE = "Dense 3-D reconstruction"
CSS = """
.gradio-container { padding-top: 12px !important; } h1 { margin: 0 !important; }
.viewer { width: 100%; height: min(56vh, 640px); min-height: 300px; box-sizing: border-box; }
.viewer { border: 1px solid #d5d9de; border-radius: 8px; background: #eef0f3; }
div.viewer { display: flex; align-items: center; justify-content: center; text-align: center; padding: 2em; }
div.viewer { color: #555; }
#status { min-height: 2.2em; }
label.progress { display: block; } label.progress progress { width: 100%; height: 10px; }
label.progress progress { accent-color: #f97316; }
p.alert { color: #9b1c1c; font-weight: 600; } p.status { margin: 0; }
table.figures { width: 100%; } table.figures th { text-align: left; font-weight: 600; padding-right: 1em; }
.swatch { display: inline-block; width: 1em; height: 1em; margin-right: .3em; vertical-align: -0.15em; }
.swatch:not(:first-child) { margin-left: .8em; }
#strip .thumbnail-lg { aspect-ratio: auto; height: auto; } #strip .caption-label { display: none; }
@media (max-width: 640px) { .viewer { height: 55vh; } }
"""


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
    view: list[Any] = field(default_factory=list)
    run: Any = None
    cancel: Any = None
    status: Any = None
    results: list[Any] = field(default_factory=list)
    """Figures, strip, legend, and the tab of what only some systems can."""


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
                page.status = gr.HTML(message("Choose an input, then start."), elem_id="status")
                frame = gr.HTML(_NOTHING_YET, elem_id="view")
                _build_results(page, actions)
        _connect(page, actions, frame)
        blocks.load(None, js=UPDATE_VIEW, inputs=page.view, api_visibility="private")
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
    model = gr.Dropdown(list(first.models), value=first.models[0], label="Model")
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


def _build_results(page: _Page, actions: Actions) -> None:
    page.view = view_controls()
    show, threshold = page.view[:2]
    device: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1, "api_visibility": "private"}
    with gr.Tabs():
        with gr.Tab("Frames"):
            strip = gr.Gallery(
                show_label=False, label="Frames", columns=6, height="auto", object_fit="contain", elem_id="strip"
            )
            legend = gr.HTML("", elem_id="legend")
        with gr.Tab("Figures"):
            figures = gr.HTML(message("There is nothing yet."))
        with gr.Tab("Downloads"):
            gr.Markdown("Points (PLY), points and cameras (GLB), TUM trajectory, nerfstudio and COLMAP archives.")
            prepare = gr.Button("Prepare the files at this confidence")
            downloads = gr.File(label="Files", file_count="multiple", interactive=False)
        with gr.Tab("Mesh"):
            gr.Markdown("A surface through the points above the confidence; it is also among the downloads.")
            mesh = gr.Button("Make a mesh at this confidence")
        with gr.Tab("Words and film", visible=False) as more:
            with gr.Row():
                words = gr.Textbox(label="Find words in the scene", placeholder="sofa, chair", scale=4, min_width=200)
                find = gr.Button("Find", scale=1, min_width=80)
            maps = gr.Gallery(show_label=False, label="Where the words are", columns=4, object_fit="contain")
            film = gr.Button("Film new views")
            video = gr.Video(label="Film", interactive=False, height=320, loop=True)
    page.results = [figures, strip, legend, more]
    prepare.click(actions.write_files, [page.token, threshold], [page.status, downloads], api_name="files")
    mesh.click(actions.make_mesh, [page.token, threshold], [page.status, show], **device)
    show.input(actions.show, [page.token, show, threshold], [page.status, show], **device)
    film.click(actions.make_film, page.token, [page.status, video], **device)
    gr.on([find.click, words.submit], actions.find_words, [page.token, words], [page.status, maps], **device)


def _connect(page: _Page, actions: Actions, frame: Any) -> None:
    begun = page.run.click(actions.begin, page.token, [page.token, frame, page.status], queue=False, api_name="begin")
    page.run.click(None, None, None, js=_SHOW_VIEW, api_visibility="private")
    begun.then(
        actions.run,
        [page.token, *page.inputs, *page.options],
        [page.status, page.view[0], page.view[1], *page.results],
        concurrency_id="device",
        concurrency_limit=1,
        api_name="run",
        show_progress="hidden",
    )
    page.cancel.click(actions.cancel, page.token, page.status, queue=False, api_visibility="private")
    for control in page.view:
        control.change(None, page.view, None, js=UPDATE_VIEW, api_visibility="private")
