"""The lower half of a page: controls of the view, and the results of a finished scene in tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from common.app.contract import Outcome
from common.app.jobs import message
from common.app.pages.actions import Actions
from common.app.pages.controls import UPDATE_VIEW, view_controls
from common.app.pages.wording import figures_table, gallery, legend

NO_OTHER_WORK: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Options of an event that computes: one at a time, for all visitors."""


@dataclass
class ResultPanel:
    """The components."""

    view: list[Any]
    """In the order of `common.app.pages.controls.VIEW_SETTINGS`."""
    results: list[Any]
    """Figures, strip, legend, and the tab of what only some systems can."""


def build_results(token: Any, status: Any, actions: Actions, outcome: Outcome | None = None) -> ResultPanel:
    """Lay the components out and connect those that work on a finished scene.

    Args:
        token: state that holds the visitor's token.
        status: component for progress and errors.
        actions: the functions behind them.
        outcome: what is there already; None where a run will fill the panel.
    """
    view = view_controls(outcome)
    show, level = view[:2]
    private: dict[str, Any] = {"api_visibility": "private"}
    with gr.Tabs():
        with gr.Tab("Frames"):
            strip = gr.Gallery(
                None if outcome is None else gallery(outcome.strip),
                show_label=False,
                label="Frames",
                columns=6,
                height="auto",
                object_fit="contain",
                elem_id="strip",
            )
            names = gr.HTML("" if outcome is None else legend(outcome), elem_id="legend")
        with gr.Tab("Figures"):
            figures = gr.HTML(message("There is nothing yet.") if outcome is None else figures_table(outcome))
        with gr.Tab("Downloads", visible=outcome is None):  # a folder that is shown has its files
            gr.Markdown("Points (PLY), points and cameras (GLB), TUM trajectory, nerfstudio and COLMAP archives.")
            prepare = gr.Button("Prepare the files of these points")
            downloads = gr.File(label="Files", file_count="multiple", interactive=False)
        with gr.Tab("Mesh"):
            gr.Markdown("A surface through the points that are shown; it is also among the downloads.")
            mesh = gr.Button("Make a mesh of these points")
        with gr.Tab("Words and film", visible=False) as more:
            _build_words_and_film(token, status, actions)
    prepare.click(actions.write_files, [token, level], [status, downloads], api_name="files")
    mesh.click(actions.make_mesh, [token, level], [status, show], **NO_OTHER_WORK, **private)
    show.input(actions.show, [token, show, level], [status, show], **NO_OTHER_WORK, **private)
    for control in view:
        control.change(None, view, None, js=UPDATE_VIEW, **private)
    return ResultPanel(view, [figures, strip, names, more])


def _build_words_and_film(token: Any, status: Any, actions: Actions) -> None:
    with gr.Row():
        words = gr.Textbox(label="Find words in the scene", placeholder="sofa, chair", scale=4, min_width=200)
        find = gr.Button("Find", scale=1, min_width=80)
    maps = gr.Gallery(show_label=False, label="Where the words are", columns=4, object_fit="contain")
    film = gr.Button("Film new views")
    video = gr.Video(label="Film", interactive=False, height=320, loop=True)
    work: dict[str, Any] = {**NO_OTHER_WORK, "api_visibility": "private"}
    film.click(actions.make_film, token, [status, video], **work)
    gr.on([find.click, words.submit], actions.find_words, [token, words], [status, maps], **work)
