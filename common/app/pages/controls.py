"""Parameters as controls of the page: those of the systems, and those of the view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from common.app.contract import Option, Outcome, System
from common.app.levels import levels_by_share

AFTER, BEFORE = "After", "Before"
VIEW_SETTINGS = ("show", "level", "state", "count", "mode", "size", "cameras", "inside", "up")
"""Names by which the viewer (``assets/viewer.js``) knows the controls of `view_controls`, in their order."""
UPDATE_VIEW = f"""(...values) => {{
  const names = {list(VIEW_SETTINGS)};
  window.viewSettings = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  window.viewSettings.dark = document.body.classList.contains("dark");
  document.querySelectorAll("iframe.viewer").forEach((frame) =>
    frame.contentWindow?.postMessage(window.viewSettings, location.origin));
}}"""
"""Runs in the browser, without the server."""


def option_control(option: Option) -> Any:
    """The control of one parameter.

    A choice is a row of buttons: a list that opens would lie over the controls below it.
    """
    common: dict[str, Any] = {"label": option.label, "info": option.help, "interactive": True}
    if option.kind == "switch":
        return gr.Checkbox(bool(option.default), **common)
    if option.kind == "choice":
        return gr.Radio(list(option.choices), value=option.default, **common)
    step = max(1, int(option.step)) if option.kind == "whole" else option.step
    return gr.Slider(option.low, option.high, value=option.default, step=step, **common)


def option_controls(systems: Sequence[System]) -> tuple[dict[str, list[Any]], list[Any]]:
    """Controls of every system, those of the first in view; and the groups to show and hide, a pair per system."""
    controls: dict[str, list[Any]] = {system.name: [] for system in systems}
    groups = []
    for basic in (True, False):
        holder: Any = gr.Column() if basic else gr.Accordion("More parameters", open=False)
        with holder:
            for number, system in enumerate(systems):
                with gr.Column(visible=number == 0) as group:
                    for option in system.options:
                        if option.basic == basic:
                            controls[system.name].append(option_control(option))
                groups.append(group)
    return controls, groups


def ordered_options(system: System) -> list[Option]:
    """The options in the order of their controls: basic ones first."""
    return [option for basic in (True, False) for option in system.options if option.basic == basic]


def option_values(system: System, values: Sequence[Any]) -> dict[str, Any]:
    """Values of a system's controls by name, of the right type."""
    named = zip(ordered_options(system), values, strict=True)
    return {option.name: int(value) if option.kind == "whole" else value for option, value in named}


def view_controls(outcome: Outcome | None = None) -> list[Any]:
    """Controls of the view, in the order of `VIEW_SETTINGS`; for a scene that grows, or one that is there."""
    with gr.Row():
        show = gr.Radio(min_width=200, **_shows(outcome), label="Show")
        state = gr.Radio(
            [AFTER, BEFORE],
            value=AFTER,
            label="Refinement",
            visible=outcome is not None and outcome.before is not None,
            min_width=200,
        )
        level = gr.Slider(**_level(outcome), step=1, min_width=200)
    with gr.Row():
        mode = gr.Radio([("Picture", 0), ("Confidence", 1), ("Height", 2)], value=0, label="Colour by", min_width=280)
        size = gr.Slider(0.25, 4, value=1, step=0.05, label="Point size", min_width=150)
        count = gr.Slider(10_000, 1_000_000, value=300_000, step=10_000, label="Number of points", min_width=150)
    with gr.Accordion("More of the view", open=False), gr.Row():
        cameras = gr.Checkbox(True, label="Show cameras", min_width=150)
        inside = gr.Checkbox(True, label="Look past walls", info="Hide what is seen from behind.", min_width=150)
        up = gr.Radio(
            [("From the cameras", "cameras"), "+x", "-x", "+y", "-y", "+z", "-z"],
            value="cameras",
            label="Up axis",
            min_width=280,
        )
    return [show, level, state, count, mode, size, cameras, inside, up]


def view_updates(outcome: Outcome) -> tuple[Any, Any, Any]:
    """Updates of the first three of `view_controls` for a finished scene."""
    state = gr.update(value=AFTER, visible=outcome.before is not None)
    return gr.update(**_shows(outcome)), gr.update(**_level(outcome)), state


def _shows(outcome: Outcome | None) -> dict[str, Any]:
    splats = outcome is not None and outcome.splats is not None
    shows = ["Gaussians", "Points", "Mesh"] if splats else ["Points", "Mesh"]
    return {"choices": shows, "value": shows[0]}


def _level(outcome: Outcome | None) -> dict[str, Any]:
    levels = levels_by_share([]) if outcome is None else outcome.levels
    return {
        "minimum": levels.first,
        "maximum": max(levels.last, levels.first + 1),
        "value": levels.default,
        "label": levels.label,
        "info": levels.help,
    }
