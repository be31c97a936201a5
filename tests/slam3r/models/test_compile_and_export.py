"""Networks as graphs: compiled without a break, exported for any number of views, and the encoder as ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from common.backbone import PatchGrid
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.tiny_scene import tiny_models
from tests.support.tiny_uni3r import network, room

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
GRID = PatchGrid(3, 4)
VIEWS = Dim.DYNAMIC


class Graph(nn.Module):
    """A module whose forward is one of a network's functions, with plain tensors as results."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.function(self.network, *inputs)
        return (found.points, found.confidence) if isinstance(found, Pointmaps) else found


def encoder() -> Graph:
    return Graph(tiny_models()[0].encoder.eval(), lambda network, images: network(images)[0])


def local(network: ImageToPoints, reference: Tensor, sources: Tensor) -> Pointmaps:
    return network.reference_pointmap(reference, sources, GRID)


def window(network: ImageToPoints, tokens: Tensor) -> Pointmaps:
    return network(tokens, GRID, 0)


def scores(network: ImageToPoints, queries: Tensor, candidates: Tensor) -> Tensor:
    return network.correlation_scores(queries, candidates, GRID)


def registered(network: LocalToWorld, *inputs: Tensor) -> Pointmaps:
    return network(*inputs, GRID, want_references=False)[1]


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, GRID.num_tokens, 32)


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, 48, 64, 3)


def cases(views: int) -> dict[str, tuple[Graph, tuple[Tensor, ...]]]:
    """Function -> its graph, and inputs of a number of views (``views + 1`` sources)."""
    i2p, l2w = (model.eval() for model in tiny_models())
    return {
        "encoder": (encoder(), (torch.randn(views, 3, 48, 64),)),
        "i2p reference": (Graph(i2p, local), (tokens(2), tokens(2, views + 1))),
        "i2p window": (Graph(i2p, window), (tokens(2, views + 1),)),
        "retrieval": (Graph(i2p, scores), (tokens(2), tokens(views + 1))),
        "l2w": (
            Graph(l2w, registered),
            (tokens(1, views), points(1, views), tokens(1, views + 1), points(1, views + 1)),
        ),
    }


NAMES = list(cases(3))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_no_graph_breaks(name: str) -> None:
    graph, inputs = cases(3)[name]
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(graph, fullgraph=True, backend="aot_eager")(*inputs), graph(*inputs))


@pytest.mark.parametrize(
    "changes",
    [{}, {"decoder": "alternating", "decoder_depth": 4, "intrinsics": "token", "point_head": "dpt"}],
    ids=["multiview", "alternating"],
)
@torch.no_grad()
def test_no_graph_breaks_in_uni3r(changes: dict[str, Any]) -> None:
    backbone, views = network(**changes).eval().backbone, room(2)[None]
    torch._dynamo.reset()
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")(views.images, views.intrinsics)
    for one, other in zip(compiled.levels, backbone(views.images, views.intrinsics).levels, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_one_exported_graph_takes_any_number_of_views(name: str) -> None:
    graph, inputs = cases(3)[name]
    axes = {"encoder": (0,), "i2p reference": (None, 1), "i2p window": (1,), "retrieval": (None, 0), "l2w": (1,) * 4}[
        name
    ]
    dynamic = (tuple({} if axis is None else {axis: VIEWS} for axis in axes),)  # one entry: the inputs are *inputs
    exported = export(graph, inputs, dynamic_shapes=dynamic).module()
    for other in (inputs, cases(6)[name][1]):
        torch.testing.assert_close(exported(*other), graph(*other))


@torch.no_grad()
def test_exporting_leaves_the_network_as_it_was() -> None:
    """A table of positions that was made without values must not be kept for later."""
    graph, images = encoder(), torch.randn(2, 3, 32, 80)  # a grid that nobody used before
    export(graph, (images,))
    assert graph(images).isfinite().all()


@torch.no_grad()
def test_the_encoder_in_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="pip install onnx onnxscript onnxruntime")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
    graph, images = encoder(), torch.randn(3, 3, 48, 64)
    program = torch.onnx.export(graph, (images,), dynamo=True, dynamic_shapes=(({0: "frames"},),), verbose=False)
    assert program is not None
    program.save(str(tmp_path / "encoder.onnx"))
    session = runtime.InferenceSession(str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"])
    for frames in (1, 5):
        images = torch.randn(frames, 3, 48, 64)
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), graph(images), rtol=1e-4, atol=1e-4)
