"""The page of one finished scene: the view with its controls, and the results, without inputs and models."""

from __future__ import annotations

import gradio as gr

from common.app.contract import Outcome
from common.app.pages.actions import Actions
from common.app.pages.controls import UPDATE_VIEW
from common.app.pages.result_panel import build_results
from common.app.pages.wording import describe, view_frame
from common.app.scenes import SceneStore
from common.app.settings import Limits


def build_view_page(title: str, outcome: Outcome, scenes: SceneStore) -> gr.Blocks:
    """The page of a scene, which all visitors see alike.

    Args:
        title: name of the scene.
        outcome: the scene.
        scenes: takes it.
    """
    token = scenes.add_finished(outcome)
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {title}")
        status = gr.HTML(describe(outcome, before=""), elem_id="status")
        gr.HTML(view_frame(token), elem_id="view")
        panel = build_results(gr.State(token), status, Actions([], scenes, Limits()), outcome)
        blocks.load(None, js=UPDATE_VIEW, inputs=panel.view, api_visibility="private")
    return blocks
