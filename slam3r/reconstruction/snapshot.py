"""A reconstructor in the middle of its work as tensors and plain values, and back. For session checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from common.backbone import PatchGrid
from slam3r.reconstruction.frames import FrameInput, LocalPointmap, WorldPointmap
from slam3r.reconstruction.initialization import InitialScene
from slam3r.reconstruction.poses import PoseSolver
from slam3r.reconstruction.reconstructor import Reconstructor
from slam3r.reconstruction.scene_buffer import BufferingSet

COUNTERS = ("received", "next_local", "next_frame", "stride", "stride_since", "first_held", "largest_stride")


def take_snapshot(reconstructor: Reconstructor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and values that JSON can hold. Nothing is changed; the tensors are not copied.

    Raises:
        RuntimeError: after `flush`.
    """
    if reconstructor._ended:
        raise RuntimeError("a flushed reconstructor has nothing to go on with")
    store, buffer, scene, poses = (
        reconstructor._store,
        reconstructor._buffer,
        reconstructor._scene,
        reconstructor._poses,
    )
    random: Any = reconstructor._random.get_state(legacy=True)
    _, keys, position, has_gauss, gauss = random
    tensors = {"random": torch.from_numpy(keys.astype("int64"))}
    if store.inputs:
        tensors["inputs.tokens"] = torch.stack([item.tokens for item in store.inputs.values()])
        tensors["inputs.image"] = torch.stack([item.image for item in store.inputs.values()])
    for name in ("raw_points", "confidence", "points", "valid"):
        if store.local:
            tensors[f"local.{name}"] = torch.stack([getattr(item, name) for item in store.local.values()])
    for name in ("points", "confidence", "valid"):
        if store.world:
            tensors[f"world.{name}"] = torch.stack([getattr(item, name) for item in store.world.values()])
    if poses is not None and poses.intrinsics is not None:
        tensors["intrinsics"] = poses.intrinsics
    grid = reconstructor._grid
    values: dict[str, Any] = {
        **{name: getattr(reconstructor, f"_{name}") for name in COUNTERS},
        "random": [int(position), int(has_gauss), float(gauss)],
        "inputs": [[index, item.name, item.timestamp] for index, item in store.inputs.items()],
        "local": [[index, item.mean_confidence] for index, item in store.local.items()],
        "world": [[index, item.mean_confidence] for index, item in store.world.items()],
        "grid": None if grid is None else [grid.height, grid.width],
        "size": None if poses is None else list(poses.size),
        "scene": None if scene is None else [list(scene.frames), scene.reference],
        "buffer": None if buffer is None else [list(buffer.frames), buffer.milestone, buffer._offered],
    }
    return tensors, values


def load_snapshot(reconstructor: Reconstructor, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Bring a new reconstructor, of the same networks and settings, to where the snapshot was taken.

    Raises:
        KeyError, ValueError, TypeError: the snapshot is not one.
    """
    device = reconstructor.networks.device
    for name in COUNTERS:
        setattr(reconstructor, f"_{name}", values[name])
    position, has_gauss, gauss = values["random"]
    reconstructor._random.set_state(("MT19937", tensors["random"].numpy().astype("uint32"), position, has_gauss, gauss))
    _load_frames(reconstructor, tensors, values, device)
    if values["grid"] is not None:
        reconstructor._grid = PatchGrid(*values["grid"])
    if values["size"] is not None:
        height, width = values["size"]
        reconstructor._poses = PoseSolver(reconstructor.settings, (height, width), tensors.get("intrinsics"))
    if values["scene"] is not None:
        frames, reference = values["scene"]
        # The founding pointmaps live on in the store; the scene itself is only asked for its frames.
        reconstructor._scene = InitialScene(frames, reference, torch.empty(0), torch.empty(0), torch.empty(0))
    if values["buffer"] is not None:
        frames, milestone, offered = values["buffer"]
        buffer = BufferingSet(frames, values["stride"], milestone, reconstructor.settings, reconstructor._random)
        buffer._offered = offered
        reconstructor._buffer = buffer


def _load_frames(
    reconstructor: Reconstructor, tensors: Mapping[str, Tensor], values: Mapping[str, Any], device: torch.device
) -> None:
    """Every frame in memory of its own, so that forgetting one frees it."""
    store = reconstructor._store
    for row, (index, name, timestamp) in enumerate(values["inputs"]):
        tokens = tensors["inputs.tokens"][row].to(device, copy=True)
        store.inputs[index] = FrameInput(tokens, tensors["inputs.image"][row].clone(), timestamp, name)
    for row, (index, mean) in enumerate(values["local"]):
        raw, confidence, points, valid = (
            tensors[f"local.{name}"][row].to(device, copy=True)
            for name in ("raw_points", "confidence", "points", "valid")
        )
        store.local[index] = LocalPointmap(raw, confidence, points, valid, mean)
    for row, (index, mean) in enumerate(values["world"]):
        points, confidence, valid = (
            tensors[f"world.{name}"][row].to(device, copy=True) for name in ("points", "confidence", "valid")
        )
        store.world[index] = WorldPointmap(points, confidence, valid, mean)
