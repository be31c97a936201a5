"""Settings dataclasses as nodes of Hydra's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import OmegaConf

from common.command.registry import defaults_of


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    count: int = 2


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "a"


def test_a_model_may_set_one_field_of_settings_within_settings() -> None:
    """Keys that it does not name keep their defaults."""
    for own, expected in (
        ({}, {"inner": {"share": 0.5, "count": 2}, "name": "a"}),
        ({"inner": {"count": 5}}, {"inner": {"share": 0.5, "count": 5}, "name": "a"}),
        ({"name": "b"}, {"inner": {"share": 0.5, "count": 2}, "name": "b"}),
    ):
        config = OmegaConf.create({"model": {"own": own}, "settings": defaults_of(Outer, "model.own")})
        assert OmegaConf.to_container(config, resolve=True)["settings"] == expected
