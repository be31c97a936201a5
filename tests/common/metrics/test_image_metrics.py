"""PSNR, SSIM and LPIPS of renderings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError
from common.metrics.image import psnr, score_images
from common.metrics.lpips import Lpips, lpips_available
from tests.support.uni3r_parity import figures, vectors

pytest.importorskip("torchmetrics", reason="SSIM needs the extra 'train'")


def test_agrees_with_the_published_evaluation() -> None:
    stored = vectors("metrics")
    expected = figures("metrics", "image", "uni3r_image_metrics")
    score = score_images(stored["in.image_pred"], stored["in.image_gt"])
    assert score.psnr_pooled == pytest.approx(expected["psnr_of_pooled_mse"], rel=1e-5)
    assert score.psnr.tolist() == pytest.approx(expected["psnr_per_image"], rel=1e-5)
    assert score.psnr_mean == pytest.approx(expected["psnr_mean"], rel=1e-5)
    assert score.ssim_mean == pytest.approx(expected["ssim"], rel=1e-5)
    assert score.ssim.tolist() == pytest.approx(expected["ssim_per_image"], rel=1e-5)
    assert score.lpips is None and score.lpips_mean is None


def test_closed_forms() -> None:
    truth = torch.zeros(2, 3, 16, 16)
    images = torch.stack([torch.full((3, 16, 16), 0.1), torch.full((3, 16, 16), 0.01)])
    assert psnr(images, truth).tolist() == pytest.approx([20, 40], abs=1e-3)
    score = score_images(images, truth)
    assert score.psnr_mean == pytest.approx(30, abs=1e-3)
    assert score.psnr_pooled == pytest.approx(22.967, abs=1e-3)  # -10 log10((0.01 + 0.0001) / 2): the worse image rules
    assert score_images(images[:1], images[:1]).ssim.tolist() == pytest.approx([1])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="two equal shapes"):
        score_images(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))


def test_lpips_says_where_its_weights_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not lpips_available()
    with pytest.raises(CheckpointError, match=rf"VGG-16 at {tmp_path}/checkpoints/vgg16-\w+\.pth; fetch it once"):
        Lpips()


@pytest.fixture(scope="module")
def vgg() -> dict[str, torch.Tensor]:
    """Random layers under torchvision's names."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().features.state_dict().items()}
    return {f"features.{name}": 0.05 * torch.randn(shape) for name, shape in shapes.items()}


def test_lpips_from_a_file(vgg: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """As torchvision names the layers, and as a saved LPIPS network does: the same distances."""
    torch.save(vgg, tmp_path / "vgg16.pth")
    network = Lpips(weights=tmp_path / "vgg16.pth")
    torch.save(network.network.state_dict(), tmp_path / "lpips.pth")
    truth = torch.rand(2, 3, 32, 32)
    images = (truth + 0.2 * torch.randn_like(truth)).requires_grad_()
    distances = network.train()(images, truth)
    torch.testing.assert_close(Lpips(weights=tmp_path / "lpips.pth")(images, truth), distances)
    torch.testing.assert_close(network(truth, truth), torch.zeros(2))
    distances.sum().backward()
    assert (distances > 0).all() and images.grad is not None and images.grad.abs().sum() > 0


def test_lpips_refuses_a_file_without_vgg(tmp_path: Path) -> None:
    torch.save({"lin0.model.1.weight": torch.ones(1, 64, 1, 1)}, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=r"vgg\.pth holds no VGG-16: expected features\.0\.weight"):
        Lpips(weights=tmp_path / "vgg.pth")


def test_lpips_is_zero_for_equal_images_and_has_gradients() -> None:
    if not lpips_available():
        pytest.skip("VGG-16 is not in torch's cache, and tests download nothing")
    network = Lpips()
    truth = torch.rand(2, 3, 64, 64)
    images = (truth + 0.2 * torch.randn_like(truth)).requires_grad_()
    distances = network(images, truth)
    assert distances.shape == (2,) and (distances > 0).all() and network(truth, truth).abs().max() < 1e-6
    distances.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
