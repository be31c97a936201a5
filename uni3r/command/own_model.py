"""A model of the user's own as ``--model WEIGHTS`` names it, like `uni3r.pretrained.ModelChoice`. Imports no torch."""

from __future__ import annotations

from common.command.line.overrides import literal
from common.paths import user_path


def own_model(place: str) -> list[str]:
    """Overrides for a folder or file of weights; none for anything else."""
    weights = user_path(place)
    if not weights.exists():
        return []
    return ["model=_uni3r", f"model.name={literal(weights.resolve().name)}", f"model.weights={literal(str(weights))}"]
