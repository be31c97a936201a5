"""A live session in one file: safetensors, with what is not a tensor as JSON in its header."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.configuration import to_dataclass
from common.errors import CheckpointError
from common.files import atomic_path
from common.geometry.calibration import Calibration
from slam3r.live.segment import LiveSegment, WaitingFrame
from slam3r.live.session import LiveReconstruction
from slam3r.live.settings import LiveSettings
from slam3r.live.statistics import SessionMeter
from slam3r.live.tracking import TrackingState
from slam3r.live.updates import FinishedSegment, SegmentSummary
from slam3r.reconstruction import Networks
from slam3r.reconstruction.snapshot import load_snapshot, take_snapshot

VERSION = 1
_MONITOR = ("failures", "successes", "frames_lost", "losses", "relocalisations")
_CONTROLLER = ("motion", "target", "since_change")
_METER = ("registered", "rejected", "segments_closed", "losses", "relocalisations", "reinitialisations")


def write_session(session: LiveReconstruction, path: Path) -> None:
    """Write a session; the file is complete or not there. Not saved: networks, latencies, the memory for
    `SceneMap.remove`.

    Raises:
        RuntimeError: answers are undelivered; fetch them with ``push([])`` first, or they would be lost.
    """
    if session.undelivered:
        raise RuntimeError(f"{len(session.undelivered)} answers are undelivered: fetch them before the checkpoint")
    tensors: dict[str, Tensor] = {}
    segment = session._segment
    if segment is not None:
        segment.commit()
    values: dict[str, Any] = {
        "version": VERSION,
        "networks": _sizes(session.networks),
        "settings": asdict(session.settings),
        "calibration": None if session.calibration is None else asdict(session.calibration),
        "num_frames": session._num_frames,
        "next_segment": session._next_segment,
        "next_name": session._next_name,
        "meter": _pack_meter(session._meter),
        "segment": None if segment is None else _pack_segment(segment, tensors),
    }
    # Tensors made under inference_mode, views and shared storage are all fine once copied.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"session": json.dumps(values)})


def read_session(
    path: Path, networks: Networks, on_segment_end: Callable[[FinishedSegment], None] | None = None
) -> LiveReconstruction:
    """See `LiveReconstruction.restore`."""
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("session")
            if header is None:
                raise CheckpointError(f"{path} is a safetensors file, but not of a live session")
            values = json.loads(header)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not a session checkpoint, or damaged: {error}") from error
    if values.get("version") != VERSION:
        raise CheckpointError(f"{path}: session version {values.get('version')}, this program reads {VERSION}")
    if values["networks"] != _sizes(networks):
        raise CheckpointError(f"{path} was made with networks of other sizes: {values['networks']}")
    try:
        return _rebuild(values, tensors, networks, on_segment_end)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path} does not hold a whole session: {error!r}") from error


def _rebuild(
    values: dict[str, Any],
    tensors: dict[str, Tensor],
    networks: Networks,
    on_segment_end: Callable[[FinishedSegment], None] | None,
) -> LiveReconstruction:
    settings = to_dataclass(values["settings"], LiveSettings)
    calibration = None if values["calibration"] is None else to_dataclass(values["calibration"], Calibration)
    session = LiveReconstruction(networks, settings, calibration, on_segment_end, resuming=True)
    session._num_frames, session._next_segment = values["num_frames"], values["next_segment"]
    session._next_name = values["next_name"]
    _load_meter(session._meter, values["meter"])
    if values["segment"] is not None:
        session._segment = _load_segment(session, values["segment"], tensors)
    return session


def _sizes(networks: Networks) -> dict[str, Any]:
    """What tokens and pointmaps of a session depend on; the weights themselves are the user's to keep."""
    models = {"image_to_points": networks.image_to_points, "local_to_world": networks.local_to_world}
    return json.loads(json.dumps({name: model.config.to_dict() for name, model in models.items()}))


def _pack_meter(meter: SessionMeter) -> dict[str, Any]:
    by_state = {state.value: count for state, count in meter.by_state.items()}
    segments = [asdict(summary) for summary in meter.segments]
    return {**{name: getattr(meter, name) for name in _METER}, "by_state": by_state, "segments": segments}


def _load_meter(meter: SessionMeter, values: dict[str, Any]) -> None:
    for name in _METER:
        setattr(meter, name, values[name])
    meter.by_state = Counter({TrackingState(state): count for state, count in values["by_state"].items()})
    meter.segments.extend(to_dataclass(summary, SegmentSummary) for summary in values["segments"])


def _pack_segment(segment: LiveSegment, tensors: dict[str, Tensor]) -> dict[str, Any]:
    own, reconstructor = take_snapshot(segment.reconstructor)
    tensors |= {f"reconstructor.{name}": tensor for name, tensor in own.items()}
    tensors |= {f"map.{name}": torch.from_numpy(array) for name, array in segment.map.arrays().items()}
    if segment.intrinsics is not None:
        tensors["given_intrinsics"] = segment.intrinsics
    if segment.meter.last is not None:
        tensors["motion.last"] = torch.from_numpy(segment.meter.last)
    waiting = [
        [item.number, item.name, item.timestamp, item.original_from_network.tolist(), list(item.original_size)]
        for item in segment.waiting
    ]
    return {
        "number": segment.number,
        "name": segment.name,
        "first_frame": segment.first_frame,
        "num_pushed": segment.num_pushed,
        "num_registered": segment.num_registered,
        "last_founding": segment.last_founding,
        "state": segment.monitor.state.value,
        "monitor": {name: getattr(segment.monitor, name) for name in _MONITOR},
        "controller": {name: getattr(segment.controller, name) for name in _CONTROLLER},
        "map": [segment.map.num_evicted, segment.map.num_out_of_reach],
        "waiting": waiting,
        "reconstructor": reconstructor,
    }


def _load_segment(session: LiveReconstruction, values: dict[str, Any], tensors: dict[str, Tensor]) -> LiveSegment:
    segment = LiveSegment(
        values["number"],
        values["name"],
        values["first_frame"],
        session.networks,
        session.settings,
        tensors.get("given_intrinsics"),
        session.timer,
    )
    segment.num_pushed, segment.num_registered = values["num_pushed"], values["num_registered"]
    segment.last_founding = values["last_founding"]
    segment.monitor.state = TrackingState(values["state"])
    for name in _MONITOR:
        setattr(segment.monitor, name, values["monitor"][name])
    for name in _CONTROLLER:
        setattr(segment.controller, name, values["controller"][name])
    if "motion.last" in tensors:
        segment.meter.last = tensors["motion.last"].numpy()
    segment.map.load_arrays(_with_prefix(tensors, "map."))
    segment.map.num_evicted, segment.map.num_out_of_reach = values["map"]
    now = time.perf_counter()
    for number, name, timestamp, affine, (height, width) in values["waiting"]:
        matrix = torch.tensor(affine, dtype=torch.float64)
        segment.waiting.append(WaitingFrame(number, name, timestamp, matrix, (height, width), now))
    if segment.disk is not None:  # it may be ahead of the checkpoint: those frames will come again
        segment.disk.remove_from(segment.waiting[0].number if segment.waiting else session._num_frames)
    load_snapshot(segment.reconstructor, _with_prefix(tensors, "reconstructor.", False), values["reconstructor"])
    return segment


def _with_prefix(tensors: dict[str, Tensor], prefix: str, as_arrays: bool = True) -> dict[str, Any]:
    chosen = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: tensor.numpy() for name, tensor in chosen.items()} if as_arrays else chosen
