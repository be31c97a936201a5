"""Published resize and crop, the way back to original pixels, and the training crop."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from common.data.scenes import augment
from common.data.scenes.augment import (
    ColorJitter,
    middle_crop,
    resize_nearest,
    resize_window,
    training_crop,
)
from common.data.sources.preprocess import (
    denormalize,
    intrinsics_to_network,
    intrinsics_to_original,
    normalize,
    preprocess,
)
from tests.support import parity, uni3r_parity
from tests.support.vector_files import numbers_of

SIZES = [(480, 640), (640, 480), (224, 224), (97, 150), (1080, 1920), (225, 224), (500, 20)]


def assert_images_agree(found: np.ndarray, wanted: np.ndarray) -> None:
    """Grey levels within one at 99.9 % of the pixels: the measure of the vectors."""
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert found.shape == wanted.shape and (difference <= 1).mean() >= 0.999 and difference.max() <= 8


def gradient(height: int, width: int) -> np.ndarray:
    """Linear ramps, which resizing keeps (away from the border): red along x, green along y, 2 per pixel at most."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = [columns * 255 / (width - 1), rows * 255 / (height - 1), np.zeros((height, width))]
    return np.stack(ramps, -1).round().astype(np.uint8)


@pytest.mark.parametrize("name", ["landscape", "portrait", "small", "square"])
def test_published_loading(name):
    vectors = load_file(parity.find("image_loading.safetensors"))
    expected = vectors[f"{name}_out"]
    result = preprocess(vectors[f"{name}_in"], expected.shape[:2])
    assert np.array_equal(denormalize(result.image).numpy(), expected)
    assert torch.equal(result.image, (torch.from_numpy(expected).permute(2, 0, 1).float() / 255 - 0.5) / 0.5)


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (288, 512), (512, 288)])
@pytest.mark.parametrize("original", SIZES)
def test_any_shape_gives_the_asked_size_within_the_original(original, size):
    result = preprocess(np.zeros((*original, 3), np.uint8), size)
    assert result.image.shape == (3, *size) and result.image.dtype == torch.float32 and result.image.is_contiguous()
    assert result.image.min() == result.image.max() == -1
    assert result.original_size == original
    # the outer borders of the corner pixels are within those of the original, and touch them on one axis
    borders = torch.tensor([[-0.5, size[1] - 0.5], [-0.5, size[0] - 0.5], [1, 1]], dtype=torch.float64)
    x, y = (result.original_from_network @ borders)[:2].tolist()
    width, height = original[1], original[0]
    pixel = 1 / min(size[0] / height, size[1] / width)  # of the network, in original pixels: the rounding of sizes
    assert min(x[0], y[0]) >= -0.5 - 1e-9 and x[1] <= width - 0.5 + 1e-9 and y[1] <= height - 0.5 + 1e-9
    assert np.isclose(x[1] - x[0], width) or np.isclose(y[1] - y[0], height)
    assert abs(x[0] + x[1] + 1 - width) <= 2 * pixel and abs(y[0] + y[1] + 1 - height) <= 2 * pixel


@pytest.mark.parametrize("original", [(480, 640), (640, 480), (97, 150), (301, 243)])
def test_affine_finds_the_original_pixel(original):
    """A colour ramp tells where in the original each network pixel comes from."""
    result = preprocess(gradient(*original))
    seen = (result.image.double() + 1) / 2
    v, u = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    xy = result.original_from_network @ torch.stack([u, v, torch.ones_like(u)]).flatten(1).double()
    inner = slice(10, 214)
    for axis, side in ((0, original[1]), (1, original[0])):
        told = seen[axis] * (side - 1)
        error = (told - xy[axis].view(224, 224))[inner, inner]
        assert error.mean().abs() < 0.02 * side / 224, "a shift of half a pixel would show here"
        assert error.abs().max() < 1.1 * side / 255, "ramps are rounded to grey levels"


def test_intrinsics_go_there_and_back_and_project_alike():
    result = preprocess(np.zeros((480, 640, 3), np.uint8))
    original = torch.tensor([[525.0, 0, 319.5], [0, 520, 239.5], [0, 0, 1]])
    network = intrinsics_to_network(original, result.original_from_network)
    assert network.dtype == torch.float32
    assert torch.allclose(network[:2, 2], torch.tensor([111.5, 111.5]), atol=1), "the centre stays the centre"
    assert torch.allclose(network[1, 1], torch.tensor(520 * 224 / 480))
    batch = network.expand(2, 5, 3, 3)
    assert torch.allclose(intrinsics_to_original(batch, result.original_from_network), original, atol=1e-3)
    point = torch.tensor([0.3, -0.2, 2.0])
    pixel = network @ point / point[2]
    assert torch.allclose(result.original_from_network.float() @ pixel, original @ point / point[2], atol=1e-3)


def test_normalization_is_undone_exactly():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(denormalize(normalize(image)).numpy(), image)
    assert denormalize(torch.full((2, 1, 3, 4, 4), 7.0)).unique().tolist() == [255]


def test_input_is_not_changed_and_bad_input_is_refused():
    image = gradient(224, 224)
    image.flags.writeable = False
    preprocess(image).image.zero_()
    assert image.max() == 255
    for bad in (image.astype(np.float32), image[..., 0], np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            preprocess(bad)
    with pytest.raises(ValueError, match="multiples of 16"):
        preprocess(image, (224, 230))


def test_published_training_crops():
    vectors = load_file(parity.find("training_crop.safetensors"))
    inputs = [vectors[name] for name in ("image", "depth", "intrinsics")]
    for number, case in enumerate(parity.header("training_crop")["cases"]):
        width, height = case["resolution_wh"]
        generator = np.random.default_rng(case["rng_seed"])
        view = training_crop(*inputs, (height, width), generator, int(case["aug_crop"]), labels=inputs[1])
        assert np.array_equal(view.image, vectors[f"image_{number}"])
        assert np.array_equal(view.depth, vectors[f"depth_{number}"])
        assert np.array_equal(view.labels, view.depth)
        np.testing.assert_allclose(view.intrinsics, vectors[f"intrinsics_{number}"], rtol=2e-6)


def test_published_crops_of_uni3r():
    """Landscape, portrait with an off-centre principal point, and enlarging, which Uni3R does with a bicubic filter."""
    vectors = load_file(uni3r_parity.find("crop_resize.safetensors"))
    width, height = uni3r_parity.header("crop_resize")["resolution"]
    for number in numbers_of(vectors, r"(\d+)\.in\.image"):
        inputs = [vectors[f"{number}.in.{name}"] for name in ("image", "depth", "intrinsics")]
        view = training_crop(*inputs, (height, width), np.random.default_rng(0), enlarging="bicubic")
        assert_images_agree(view.image, vectors[f"{number}.out.image"])
        assert np.array_equal(view.depth, vectors[f"{number}.out.depth"])
        np.testing.assert_allclose(view.intrinsics, vectors[f"{number}.out.intrinsics"], atol=1e-4)


def test_a_part_of_a_resized_image_is_that_of_the_whole():
    image = gradient(97, 150)
    image[20:60, 30:70] = 255  # edges, at which the filter overshoots
    for after in ((50, 80), (200, 310)):
        whole = np.asarray(Image.fromarray(image).resize(after[::-1], Image.Resampling.LANCZOS))
        part = resize_window(image, after, (11, 17), (30, 40))
        assert np.array_equal(part, whole[11:41, 17:57])
        nearest = resize_nearest(image, after)
        assert np.array_equal(resize_nearest(image, after, (11, 17), (30, 40)), nearest[11:41, 17:57])


def test_middle_crop_keeps_pixels_on_their_rays():
    image, matrix = gradient(120, 200), np.array([[90.0, 0, 95], [0, 90, 62], [0, 0, 1]], np.float32)
    view = middle_crop(image, np.ones((120, 200), np.uint16), matrix, (45, 75))
    assert view.image.shape == (45, 75, 3) and view.depth.dtype == np.uint16
    for axis, side in ((0, 200), (1, 120)):
        told = (view.image[..., axis] / 255.0 * (side - 1) - matrix[axis, 2]) / matrix[axis, axis]
        expected = (np.indices((45, 75))[1 - axis] - view.intrinsics[axis, 2]) / view.intrinsics[axis, axis]
        assert abs((told - expected).mean()) * view.intrinsics[axis, axis] < 0.1, "in network pixels"


@pytest.mark.parametrize("principal", [(319.5, 239.5), (250.2, 260.7), (400.0, 100.0)])
def test_training_crop_keeps_pixels_on_their_rays(principal):
    """Ramps in the image tell the original pixel, whose ray must be that of the new pixel."""
    image = gradient(480, 640)
    matrix = np.array([[500.0, 0, principal[0]], [0, 510, principal[1]], [0, 0, 1]], np.float32)
    view = training_crop(image, np.ones((480, 640), np.float32), matrix, (128, 160), np.random.default_rng(3), 100)
    assert view.image.shape == (128, 160, 3) and view.depth.shape == (128, 160)
    inner = (slice(10, 118), slice(10, 150))
    for axis, side in ((0, 640), (1, 480)):
        told = view.image[..., axis] / 255.0 * (side - 1)
        ray = (told - matrix[axis, 2]) / matrix[axis, axis]
        pixel = np.indices((128, 160))[1 - axis]
        expected = (pixel - view.intrinsics[axis, 2]) / view.intrinsics[axis, axis]
        assert abs((ray - expected)[inner].mean()) * view.intrinsics[axis, axis] < 0.1, "in network pixels"


def test_training_crop_refuses_nonsense():
    image, depth, generator = gradient(48, 64), np.ones((48, 64), np.float32), np.random.default_rng(0)
    with pytest.raises(ValueError, match="principal point"):
        training_crop(image, depth, np.array([[50, 0, 90], [0, 50, 24], [0, 0, 1]]), (32, 32), generator)
    with pytest.raises(ValueError, match="same height"):
        training_crop(image, depth[:-1], np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1]]), (32, 32), generator)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colour_changes_are_those_of_torchvision(name):
    from torchvision.transforms.v2 import functional

    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image = np.asarray(Image.fromarray(image).resize((100, 80), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for amount in (-0.1, 0.02, 0.1) if name == "hue" else (0.5, 0.8, 1.5):
        expected = getattr(functional, f"adjust_{name}")(tensor, amount).permute(1, 2, 0).numpy().astype(int)
        difference = np.abs(getattr(augment, f"adjust_{name}")(image, amount).astype(int) - expected)
        assert difference.mean() < 1.5 and (difference <= (6 if name == "hue" else 1)).mean() > 0.99


def test_jitter_of_a_window_is_one_for_all_views_or_one_for_each():
    images = [np.full((8, 8, 3), (200, 100, 50), np.uint8)] * 3
    same = ColorJitter(0.5, 0.5, 0.5, 0.1)(images, np.random.default_rng(0))
    assert np.array_equal(same[0], same[2]) and not np.array_equal(same[0], images[0])
    each = ColorJitter(0.5, 0.5, 0.5, 0.1, per_view=True)(images, np.random.default_rng(0))
    assert not np.array_equal(each[0], each[2])
    assert np.array_equal(same, ColorJitter(0.5, 0.5, 0.5, 0.1)(images, np.random.default_rng(0)))
    assert np.array_equal(ColorJitter(0, 0, 0)(images, np.random.default_rng(0))[1], images[1])
