"""A CUDA device for machines without one: its tensors say ``cuda:0`` and are ordinary tensors of the CPU.

Real code runs unchanged, with branches that depend on data, gradients and optimizer steps, and gives the values of the
CPU. As on a GPU, an operation on tensors of two devices raises, so does `Tensor.numpy`, and a generator of the CPU
draws nothing on the device. It cannot find what only a kernel does wrong, and says nothing about time or memory.
(`torch._subclasses.FakeTensorMode` knows no values, and its backward pass needs a GPU in torch's CUDA builds.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from common.backbone.patch_embed import _cached_rotary

GPU = torch.device("cuda:0")
_CPU = torch.device("cpu")
_ANSWERS: dict[Any, Any] = {
    Tensor.device.__get__: GPU,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: True,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: False,  # type: ignore[attr-defined]
    Tensor.get_device: 0,
}
_INDEXING = {Tensor.__getitem__, Tensor.__setitem__, Tensor.index_put, Tensor.index_put_, torch.index_put}
"""Functions whose second argument, the indices, may lie on the CPU while the first does not."""
_JOINING = {torch.cat, torch.stack, torch.hstack, torch.vstack, torch.concat}
"""Functions that take no CPU scalar among tensors of a GPU; arithmetic does."""


class DevicesMixed(RuntimeError):
    """An operation that a GPU would refuse."""


class GpuTensor(Tensor):
    """Says that it is on a GPU."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Device(TorchFunctionMode):
    """Sees every call, those that make tensors included."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    first = args[0] if args else None
    if isinstance(first, GpuTensor):
        if func in _ANSWERS:
            return _ANSWERS[func]
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
    if func is torch._has_compatible_shallow_copy_type and isinstance(first, GpuTensor) != isinstance(
        args[1], GpuTensor
    ):
        return (
            False  # a module that is moved gets new parameters; the old ones, given new values, would keep their class
        )
    if func is Tensor.cpu:
        func, args = Tensor.to, (first, _CPU)
    if func is Tensor.cuda:
        func, args = Tensor.to, (first, GPU)
    if func is Tensor.to:
        return _moved(*args, **kwargs)
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    on_gpu = _meets_on_gpu(func, args, kwargs) if asked is None else asked.type == "cuda"
    if on_gpu and kwargs.get("generator") is not None:
        raise DevicesMixed(f"{_name(func)}: a generator of the CPU cannot draw on a GPU")
    if asked is not None:
        kwargs = {**kwargs, "device": _CPU}
    with torch._C.DisableTorchFunctionSubclass():
        result = func(*args, **kwargs)
    return _marked(result, on_gpu)


def _moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`: another device means other memory."""
    there = isinstance(tensor, GpuTensor)
    asked = [x for x in (*args, *kwargs.values()) if isinstance(x, (str, torch.device))]
    targets = [isinstance(x, GpuTensor) for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    targets += [torch.device(device).type == "cuda" for device in asked]
    target = targets[0] if targets else there
    args = tuple(_CPU if isinstance(x, (str, torch.device)) else x for x in args)
    kwargs = {name: _CPU if isinstance(x, (str, torch.device)) else x for name, x in kwargs.items()}
    with torch._C.DisableTorchFunctionSubclass():
        result = tensor.to(*args, **kwargs)
        result = result.clone() if result is tensor and target != there else result
    return _marked(result, target)


def _meets_on_gpu(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the arguments, and so the result, are on the GPU; raises where they may not meet."""
    if func in (Tensor.copy_, Tensor.type_as) or _name(func).startswith("new_"):
        return isinstance(args[0] if func is not Tensor.type_as else args[1], GpuTensor)
    indices = tree_leaves(args[1]) if func in _INDEXING else []
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and not any(x is i for i in indices)]
    there = [x for x in tensors if isinstance(x, GpuTensor)]
    # A number on the CPU may meet tensors of the GPU, unless it would have to take the result.
    takes = (_name(func).endswith("_") and not _name(func).endswith("__")) or func is Tensor.__setitem__
    here = [
        x
        for x in tensors
        if not isinstance(x, GpuTensor) and (x.ndim > 0 or func in _JOINING or (takes and x is args[0]))
    ]
    if here and (there or any(isinstance(index, GpuTensor) for index in indices)):
        devices = ", ".join(
            f"{'cuda' if isinstance(x, GpuTensor) else 'cpu'} {tuple(x.shape)}"
            for x in (*tensors, *indices)
            if isinstance(x, Tensor)
        )
        raise DevicesMixed(f"{_name(func)}: expected all tensors on the same device, got {devices}")
    return bool(there)


def _marked(result: Any, on_gpu: bool) -> Any:
    def mark(tensor: Tensor) -> Tensor:
        if isinstance(tensor, GpuTensor) == on_gpu:
            return tensor
        other: Tensor = tensor.as_subclass(GpuTensor if on_gpu else Tensor)
        is_made = tensor.is_leaf and tensor.requires_grad  # a leaf stays one
        return other.detach().requires_grad_() if is_made else other

    with torch._C.DisableTorchFunctionSubclass():
        return tree_map_only(Tensor, mark, result)


def _name(func: Any) -> str:
    return getattr(func, "__name__", str(func))


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Inside, torch has one CUDA device, which multiplies in bfloat16."""
    enter: Callable = torch.autocast.__init__

    def autocast(self: torch.autocast, device_type: str, *args: Any, **kwargs: Any) -> None:
        enter(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "synchronize": lambda device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "device": lambda device: nullcontext(),
        "get_device_name": lambda device=None: "pretended",
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
    }
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch.object(torch.cuda, name, answer))
        stack.enter_context(patch.object(torch.autocast, "__init__", autocast))
        # Optimizers ask it for the stream that is being captured.
        stack.enter_context(patch.object(torch.accelerator, "current_accelerator", lambda check_available=False: None))
        # A table made here must not meet a GPU that is really there, nor the other way round.
        _cached_rotary.cache_clear()
        stack.callback(_cached_rotary.cache_clear)
        stack.enter_context(_Device())
        yield GPU


@contextmanager
def real_gpu() -> Iterator[torch.device]:
    """The GPU of this machine, with products as exact as those of the CPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield torch.device("cuda:0")
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


GPUS = [pytest.param(pretended_gpu, id="pretended"), pytest.param(real_gpu, id="real", marks=pytest.mark.gpu)]
"""For tests that shall hold on both; the second runs where there is one."""
