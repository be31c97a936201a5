"""The pretended GPU of the tests refuses what a GPU refuses, and takes what a GPU takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from common.device import choose_device, choose_dtype
from tests.support.pretended_gpu import DevicesMixed, GpuTensor, pretended_gpu


def test_it_is_there_only_inside() -> None:
    with pretended_gpu() as gpu:
        assert choose_device() == torch.device("cuda") and choose_dtype(gpu) == torch.bfloat16
        assert torch.zeros(2, device="cuda").device == gpu
    assert isinstance(torch.autocast("cpu"), torch.autocast)
    assert torch.cuda.is_available() or choose_device() != torch.device("cuda")


def test_what_a_gpu_refuses() -> None:
    here = torch.ones(3)
    with pretended_gpu() as gpu:
        there = here.to(gpu)
        refused = {
            "arithmetic": lambda: there + here,
            "arithmetic with a number on the GPU": lambda: here * there.sum(),
            "in place": lambda: here.add_(there),
            "a number that would take the result": lambda: torch.ones(()).add_(there.sum()),
            "stacking with a number": lambda: torch.stack([there.sum(), torch.ones(())]),
            "indices on the GPU": lambda: here[torch.zeros(1, dtype=torch.long, device=gpu)],
            "values of a mask": lambda: there.__setitem__(there > 0, here),
            "a product": lambda: there @ here,
            "a layer": lambda: nn.Linear(3, 2)(there),
            "a generator": lambda: torch.randn(3, device=gpu, generator=torch.Generator()),
        }
        for name, function in refused.items():
            with pytest.raises(DevicesMixed):
                function()
                pytest.fail(name)
        for to_numpy in (there.numpy, lambda: np.asarray(there)):
            with pytest.raises(TypeError, match=r"Tensor\.cpu\(\)"):
                to_numpy()


def test_what_a_gpu_takes() -> None:
    with pretended_gpu() as gpu:
        there = torch.arange(3.0, device=gpu)
        taken = [
            there * torch.tensor(2.0),
            there[torch.tensor([0, 2])],
            torch.where(there > 1, there, torch.tensor(0.0)),
            torch.empty(3, device=gpu).copy_(torch.ones(3)),
            there.new_zeros(2),
            torch.ones(3).to(there),
        ]
        assert all(isinstance(tensor, GpuTensor) for tensor in taken)
        assert taken[0].tolist() == [0, 2, 4] and float(there.sum()) == 3
        assert type(there.cpu()) is torch.Tensor and there.cpu().numpy().sum() == 3


def test_a_training_step_on_it_is_the_step_on_the_cpu() -> None:
    def step(device: torch.device | str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = network(torch.linspace(-1, 1, 12).view(3, 4).to(device)).float().square().mean()
        loss.backward()
        optimizer.step()
        return [parameter.detach().cpu() for parameter in network.parameters()]

    expected = step("cpu")
    with pretended_gpu() as gpu:
        actual = step(gpu)
    for one, other in zip(expected, actual, strict=True):
        assert torch.equal(one, other)
