"""Every frame's arrays on disk, in the layout of the published ``preds`` folder, memory-mappable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from common.data.sources.preprocess import denormalize
from common.export.npy import NpyWriter
from common.files import write_json
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.scene import Reconstruction

FILES = ("registered_pcds", "registered_confs", "local_pcds", "local_confs", "input_imgs")
METADATA = "metadata.json"


class PredictionRecorder:
    """A sink that appends frames to ``.npy`` files as they come; the files appear when it is closed.

    ========================  =================  =======  =====================================================
    file                      shape              type     content
    ========================  =================  =======  =====================================================
    ``registered_pcds.npy``   (n, H, W, 3)       float32  world pointmaps
    ``registered_confs.npy``  (n, H, W)          float32  their confidences
    ``local_pcds.npy``        (n, H, W, 3)       float32  camera pointmaps, each of arbitrary scale; zeros for frames
                                                          of the initial window but its reference
    ``local_confs.npy``       (n, H, W)          float32  their confidences
    ``input_imgs.npy``        (n, H, W, 3)       uint8    network images, RGB
    ========================  =================  =======  =====================================================
    """

    def __init__(self, folder: str | Path) -> None:
        """
        Args:
            folder: made if need be.
        """
        self.folder = Path(folder)
        self._writers: dict[str, NpyWriter] = {}

    def add(self, frame: RegisteredFrame) -> None:
        """Append a frame. All frames have one size."""
        local = torch.zeros_like(frame.world_points) if frame.local_points is None else frame.local_points
        rows = {
            "registered_pcds": frame.world_points.float(),
            "registered_confs": frame.world_confidence.float(),
            "local_pcds": local.float(),
            "local_confs": frame.local_confidence.float(),
            "input_imgs": denormalize(frame.image),
        }
        for name in FILES:
            row = rows[name].numpy()
            if name not in self._writers:
                self._writers[name] = NpyWriter(self.folder / f"{name}.npy", row.shape, row.dtype)
            self._writers[name].append(row[None])

    def close(self) -> None:
        """Move the files into place. Before the first frame there are none."""
        for writer in self._writers.values():
            writer.close()

    def write_metadata(self, scene: Reconstruction, name: str) -> None:
        """What the arrays do not tell, under the published names."""
        content = {
            "scene_id": name,
            "init_winsize": len(scene.initial_window),
            "kf_stride": scene.stride,
            "init_ref_id": scene.initial_reference,
            "names": [frame.name for frame in scene.frames],
            "intrinsics": np.asarray(scene.network_intrinsics).tolist(),
        }
        write_json(self.folder / METADATA, content)
