"""A model of the user's own as ``--model FOLDER`` names it, like `slam3r.pretrained.ModelChoice`. Imports no torch."""

from __future__ import annotations

from common.command.line.overrides import literal
from common.paths import user_path


def own_model(place: str) -> list[str]:
    """Overrides for a folder that holds ``image_to_points`` and ``local_to_world``; none for anything else."""
    folder = user_path(place)
    if not folder.is_dir():
        return []
    name = folder.resolve().name
    networks = {network: literal(str(folder / network)) for network in ("image_to_points", "local_to_world")}
    weights = [f"model.weights.{network}={path}" for network, path in networks.items()]
    return ["model=_slam3r", f"model.name={literal(name)}", *weights]
