"""Loading and saving models: a hub id, a folder, or a single file; ours or published.

Our own format is a folder with ``config.json`` and ``model.safetensors``. Published files are recognized by their key
names and converted (`common.checkpoints.detect`). Nothing untrusted is ever unpickled (`common.checkpoints.reading`).
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import HfApi
from safetensors.torch import save
from torch import Tensor, nn

from common.checkpoints.detect import KeyMap, detect_key_map
from common.checkpoints.location import CONFIG_NAME, WEIGHTS_NAME, locate
from common.checkpoints.reading import check_sizes, read_model_config, read_state_dict
from common.checkpoints.sizes import infer_sizes, sizes_from_published_config
from common.errors import CheckpointError
from common.files import atomic_write

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound="PretrainedModel")


@dataclass
class LoadReport:
    """Result of loading a checkpoint, by tensor names."""

    source: str
    family: str = "our own format"
    missing: list[str] = field(default_factory=list)
    """Names of the model that the checkpoint does not hold."""
    unexpected: list[str] = field(default_factory=list)
    """Names of the checkpoint that the model does not have."""
    mismatched: list[str] = field(default_factory=list)
    """Names whose shapes differ, with both shapes."""
    not_finite: list[str] = field(default_factory=list)
    """Names whose values are NaN or infinite: a training that broke down, or a damaged file."""
    left_out: list[str] = field(default_factory=list)
    """Published names that have no place in our model by design."""

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, unexpected, of another shape or not finite."""
        return not (self.missing or self.unexpected or self.mismatched or self.not_finite)

    def describe(self) -> str:
        """All findings by name, a line per kind."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.mismatched}
        kinds["with NaN or infinite values"] = self.not_finite
        lines = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
        return f"{self.source} ({self.family}): " + ("; ".join(lines) or "every name fits")


class PretrainedModel(nn.Module):
    """Base of models that load from and save to the hub format.

    A subclass is built from plain keyword sizes, keeps them in ``self.config`` (a dataclass with ``to_dict``), and
    may set ``ignored_prefixes``: names in checkpoints of its family that it does not use.
    """

    config: Any
    ignored_prefixes: tuple[str, ...] = ()
    flexible_sizes: tuple[str, ...] = ()
    """Fields of ``config`` that weights of one model may differ in."""
    load_report: LoadReport | None = None
    """Set by `from_pretrained`."""

    @classmethod
    def from_sizes(cls: type[ModelT], sizes: Mapping[str, Any]) -> ModelT:
        """Build the model with fresh weights from a mapping of sizes, such as ``sizes`` of a model's description."""
        return cls(**sizes)

    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        source: str | Path,
        *,
        strict: bool = True,
        allow_fresh: bool = False,
        revision: str | None = None,
        **sizes: Any,
    ) -> ModelT:
        """Build the model from published or own weights, in evaluation mode, float32, on the CPU.

        Args:
            source: a hub id (``siyan824/slam3r_i2p``), a folder with ``config.json``, or a weights file.
            strict: raise for names that do not fit; otherwise log them and keep them in ``load_report``.
            allow_fresh: accept the names that the checkpoint's family does not hold (such as the correlation head
                when starting from DUSt3R); everything else is still checked.
            revision: hub revision.
            **sizes: override what is read from the config or inferred from the tensor shapes.

        Raises:
            CheckpointError: names do not fit; the message lists the source and every name.
        """
        weights, config_path = locate(source, revision)
        state = read_state_dict(weights)
        key_map = detect_key_map(state)
        config = read_model_config(config_path, cls.__name__) if config_path else {}
        if key_map is not None:
            inferred = cls.infer_config(key_map.convert(state))
            config = {**inferred, **sizes_from_published_config(config)}
        elif not config:
            config = cls.infer_config(state)
        config = {**config, **sizes}
        check_sizes(config, len(state), str(config_path or weights))
        try:
            with torch.device("meta"):  # names and shapes alone: a misfit is told before anything large is made
                outline = cls(**config)
        except Exception as error:  # sizes from a file run into whatever they run into
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{weights}: the sizes in its config do not build {cls.__name__}: {reason}"
            ) from error
        report, _ = compare(outline, state, str(weights), key_map, allow_fresh)
        if strict and not report.fits:
            raise CheckpointError(f"{cls.__name__} does not fit {report.describe()}")
        model = cls(**config)
        model.load_report = load_into(model, state, str(weights), key_map, allow_fresh)
        if not model.load_report.fits:
            if strict:
                raise CheckpointError(f"{cls.__name__} does not fit {model.load_report.describe()}")
            logger.warning("loaded with gaps: %s", model.load_report.describe())
        return model.eval()

    @classmethod
    def infer_config(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Infer sizes from a state dict under our names; what it does not show is left out, so that defaults apply."""
        return infer_sizes(state)

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Adapt a state dict under our names, of a related model, to this model."""
        return state

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each atomically.

        Args:
            folder: created if needed.
            dtype: type to store floating point weights in, e.g. ``torch.float16``; None keeps theirs.
            metadata: further entries for the config, e.g. ``{"license": "Apache-2.0"}``.

        Returns:
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model": type(self).__name__, **self.config.to_dict(), "metadata": dict(metadata or {})}
        state = {name: _stored(tensor, dtype) for name, tensor in self.state_dict().items()}
        with atomic_write(folder / WEIGHTS_NAME, "wb") as file:
            file.write(save(state, metadata={"format": "pt"}))
        with atomic_write(folder / CONFIG_NAME, "w") as file:
            file.write(json.dumps(config, indent=2) + "\n")
        return folder

    def push_to_hub(self, repository: str, private: bool = False, **save_options: Any) -> str:
        """Upload to the hub as ``owner/name``; needs a token (``hf auth login``). Returns the commit's address."""
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **save_options)
            return str(api.upload_folder(repo_id=repository, folder_path=folder))


def load_into(
    model: PretrainedModel,
    state: Mapping[str, Tensor],
    source: str,
    key_map: KeyMap | None = None,
    allow_fresh: bool = False,
) -> LoadReport:
    """Copy what fits of a state dict into a model, and report every name that did not; see `compare`.

    Values that are not finite are copied too: the report names them.
    """
    report, fitting = compare(model, state, source, key_map, allow_fresh)
    report.not_finite = [
        key for key, tensor in fitting.items() if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    model.load_state_dict(fitting, strict=False)
    return report


def compare(
    model: PretrainedModel,
    state: Mapping[str, Tensor],
    source: str,
    key_map: KeyMap | None = None,
    allow_fresh: bool = False,
) -> tuple[LoadReport, dict[str, Tensor]]:
    """Names and shapes of a state dict beside those of a model.

    Args:
        model: on any device, also on ``meta``.
        state: published (with a key map) or own names.
        source: name of the source in the report.
        key_map: the family of the names; None for our own.
        allow_fresh: do not count as missing what the family never holds.

    Returns:
        What does not fit, and the tensors that do under the model's names.
    """
    report = LoadReport(source)
    if key_map is not None:
        report.family = key_map.name
        report.left_out = [key for key in state if key_map.rename(key) is None]
        state = key_map.convert(state)
    state = model.adapt(state)
    own = model.state_dict()
    fitting = {}
    for key, tensor in state.items():
        if key not in own:
            bucket = report.left_out if key.startswith(model.ignored_prefixes) else report.unexpected
            bucket.append(key)
        elif own[key].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)} in the checkpoint, {tuple(own[key].shape)} in the model"
            report.mismatched.append(f"{key} ({shapes})")
        else:
            fitting[key] = tensor
    fresh = key_map.fresh if key_map is not None and allow_fresh else ()
    report.missing = [key for key in own if key not in state and not key.startswith(fresh)]
    return report, fitting


def initialized(
    model: PretrainedModel, source: str | Path | None = None, allow_missing: Sequence[str] = ()
) -> PretrainedModel:
    """Initialize a model with other weights: published or own, of this or of a related model.

    Args:
        model: keeps its initialization for tensors that the source lacks.
        source: hub id, folder or file; None leaves the model as it is.
        allow_missing: prefixes of our names that the source may lack, besides those its family never holds.

    Returns:
        The model.

    Raises:
        CheckpointError: naming what is missing, of another shape or not finite. What only the source has is logged.
    """
    if source is None:
        return model
    path, _ = locate(source)
    state = read_state_dict(path)
    report = load_into(model, state, str(path), detect_key_map(state), allow_fresh=True)
    report.missing = [key for key in report.missing if not key.startswith(tuple(allow_missing))]
    if report.missing or report.mismatched or report.not_finite:
        raise CheckpointError(f"cannot start {type(model).__name__} from {report.describe()}")
    if report.unexpected:
        logger.info("not used from %s", report.describe())
    return model


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
