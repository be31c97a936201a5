"""The model that an evaluation of SLAM3R scores, with settings and device; loaded when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from common.configuration import to_dataclass
from common.device import choose_device, choose_dtype
from slam3r.models.description import Slam3rDescription
from slam3r.pretrained import LoadedSlam3r, load_model, place_networks
from slam3r.reconstruction import Networks, ReconstructionSettings


@dataclass(frozen=True)
class ModelUnderTestSettings:
    """The part of ``configs/evaluate.yaml`` that concerns the model under test."""

    model: Slam3rDescription
    reconstruction: ReconstructionSettings
    device: str
    dtype: str


class ModelUnderTest:
    """A model with its settings, on its device."""

    def __init__(self, settings: ModelUnderTestSettings) -> None:
        """
        Raises:
            ConfigurationError: the device or dtype is not there.
        """
        self.settings = settings
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(self.device, settings.dtype)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelUnderTest:
        """From the whole configuration of an evaluation."""
        names = ("model", "reconstruction", "device", "dtype")
        return cls(to_dataclass({name: config[name] for name in names}, ModelUnderTestSettings))

    @cached_property
    def loaded(self) -> LoadedSlam3r:
        """Both networks, on the CPU until `networks` is asked for."""
        return load_model(self.settings.model)

    @cached_property
    def networks(self) -> Networks:
        """Ready to run."""
        return place_networks(self.loaded, self.device, self.dtype, self.settings.reconstruction.memory_chunk)

    def describe(self) -> dict[str, Any]:
        """Weights with their revisions, settings and dtype: what results depend on. JSON values.

        What only trades memory for time (batch sizes) is left out, and so is the device.
        """
        reconstruction = asdict(self.settings.reconstruction)
        for name in ("encode_batch", "window_batch", "memory_chunk"):
            reconstruction.pop(name, None)
        dtype = str(self.dtype).removeprefix("torch.")
        return {"model": self.loaded.provenance, "reconstruction": reconstruction, "dtype": dtype}

    def machine(self) -> str:
        """Name of the device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
