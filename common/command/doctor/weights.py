"""Weights: those of the checkout, published ones on this machine, and the hub that they come from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from common.command.doctor.finding import ROOT, SETUP, Finding

# Weights that others publish; they are never shipped with this code.
PUBLISHED = ("siyan824/slam3r_i2p", "siyan824/slam3r_l2w")
PUBLISHED_LICENCE = "CC BY-NC-SA 4.0, research only"


def check_hub() -> Iterator[Finding]:
    """Whether the model hub answers; matters only for published weights."""
    try:
        from huggingface_hub import constants
    except ImportError:
        yield Finding("Model hub", "missing", "unknown: huggingface_hub does not load", SETUP)
        return
    if constants.HF_HUB_OFFLINE:
        yield Finding("Model hub", "optional", "not asked: HF_HUB_OFFLINE is set; shipped weights need no network")
        return
    host = urlsplit(constants.ENDPOINT).hostname
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3).close()
    except HTTPError:  # it answers, if not kindly
        yield Finding("Model hub", "ok", f"{host} answers")
    except (OSError, ValueError) as error:
        yield Finding("Model hub", "optional", f"no answer from {host} ({error}); shipped weights need no network")
    else:
        yield Finding("Model hub", "ok", f"{host} answers")


def check_weights() -> Iterator[Finding]:
    """Weights in `checkpoints/` and published ones in the hub's cache, each with its licence."""
    configs = sorted((ROOT / "checkpoints").glob("**/config.json"))
    for config in configs:
        name = str(config.parent.relative_to(ROOT))
        size = sum(file.stat().st_size for file in config.parent.glob("*.safetensors"))
        try:
            metadata = json.loads(config.read_text()).get("metadata", {})
            licence = metadata.get("license", "licence not stated")
        except (OSError, ValueError, AttributeError) as error:
            yield Finding(name, "missing", f"config.json cannot be read: {error}", f"git checkout -- {name}")
            continue
        if size:
            yield Finding(name, "ok", f"{size / 1e6:.1f} MB, {licence}")
        else:
            yield Finding(name, "missing", f"no .safetensors beside config.json ({licence})", f"git checkout -- {name}")
    if not configs:
        yield Finding("checkpoints/", "missing", "no weights in this checkout", "git checkout -- checkpoints")
    cache = _hub_cache()
    for repository in PUBLISHED:
        if (cache / f"models--{repository.replace('/', '--')}" / "snapshots").is_dir():
            yield Finding(repository, "ok", f"in the hub's cache, {PUBLISHED_LICENCE}")
        else:
            yield Finding(repository, "optional", f"published weights, not on this machine ({PUBLISHED_LICENCE})")


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
