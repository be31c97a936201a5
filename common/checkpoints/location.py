"""Location of weights: a hub id, a folder, or a single file."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from common.errors import CheckpointError
from common.paths import shipped_path

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
_WEIGHT_NAMES = (WEIGHTS_NAME, "pytorch_model.bin", "model.pth")
_FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def locate(source: str | Path, revision: str | None = None) -> tuple[Path, Path | None]:
    """Locate the weights file and, if any, the config file of a hub id, a folder or a file.

    Raises:
        CheckpointError: nothing was found; the message says what was expected.
    """
    path = shipped_path(source)
    if path.is_file():
        beside = path.with_name(CONFIG_NAME)
        return path, beside if beside.is_file() and path.name in _WEIGHT_NAMES else None
    if path.is_dir():
        for name in _WEIGHT_NAMES:
            if (path / name).is_file():
                config = path / CONFIG_NAME
                return path / name, config if config.is_file() else None
        raise CheckpointError(f"{path} holds none of {', '.join(_WEIGHT_NAMES)}")
    names = str(source)
    if names.count("/") == 1 and not names.startswith((".", "/", "~")) and not names.endswith(_FILE_SUFFIXES):
        return _download(names, revision)
    raise CheckpointError(f"{source} is neither a file, nor a folder, nor a hub id of the form 'owner/name'")


def _download(repository: str, revision: str | None) -> tuple[Path, Path | None]:
    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError as error:
            raise CheckpointError(
                f"{repository} is neither in the local hub cache nor reachable; check the network, "
                "or give a folder or a file"
            ) from error
        except EntryNotFoundError:
            return None
        except (HfHubHTTPError, HFValidationError) as error:
            raise CheckpointError(f"the hub does not give {repository}: {error}") from error

    for name in _WEIGHT_NAMES:
        weights = fetch(name)
        if weights is not None:
            return weights, fetch(CONFIG_NAME)
    raise CheckpointError(f"{repository} on the hub holds none of {', '.join(_WEIGHT_NAMES)}")
