"""Results in words and tables of the page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from common.app.contract import Outcome, Picture
from common.app.inputs import plain_sentence
from common.app.jobs import message


def describe(outcome: Outcome, before: str = "Done: ") -> str:
    """HTML of a finished run: how much there is, the verdict, the warnings."""
    kind = "points" if outcome.splats is None else "Gaussians"
    frames = f"{len(outcome.frames)} posed frame{'' if len(outcome.frames) == 1 else 's'}"
    said = message(f"{before}{len(outcome.cloud.confidence):,} {kind} from {frames}.")
    if outcome.verdict:
        said += message(plain_sentence(outcome.verdict, ()), alert=outcome.agrees is False)
    return said + "".join(message(plain_sentence(warning, ())) for warning in outcome.warnings)


def figures_table(outcome: Outcome) -> str:
    """HTML of the figures of a run."""
    rows = (
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in outcome.figures.items()
    )
    return f'<table class="figures">{"".join(rows)}</table>'


def legend(outcome: Outcome) -> str:
    """HTML of the classes and their colours."""
    entries = (
        f'<span class="swatch" style="background: rgb{color}"></span>{html.escape(name)} '
        for name, color in outcome.legend
    )
    return "".join(entries)


def gallery(pictures: Sequence[Picture]) -> list[tuple[Any, str]]:
    """Pictures as the gallery takes them."""
    return [(picture.image, picture.caption) for picture in pictures]


def view_frame(token: str) -> str:
    """HTML of the three-dimensional view of a visitor's scene."""
    return f'<iframe class="viewer" title="Three-dimensional view" src="viewer/viewer.html?scene={token}"></iframe>'
