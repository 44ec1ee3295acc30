"""Batched augmentation against torchvision's functions, one sample after the other, by the same parameters."""

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as V

from pretrain.data import augment
from pretrain.data.parameters import draw_parameters
from pretrain.data.views import INTERPOLATIONS, Views

EVERYTHING = Views(crop_scale=(0.08, 1.0), rotation=20.0, blur=0.5, solarize=0.5, jitter=(0.4, 0.4, 0.2, 0.1))
NAMES = ("brightness", "contrast", "saturation", "hue")


def images(count: int = 24, height: int = 40, width: int = 56) -> torch.Tensor:
    """Smooth coloured uint8 images with some flat (grey and black) patches, where hue is undefined."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 5, 7, generator=generator)
    x = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    x[:, :, :8, :8], x[:, :, 8:16, :8] = 0.0, 0.4
    return (x * 255).round().to(torch.uint8)


def drawn(views: Views, x: torch.Tensor):
    count = len(x)
    keys = np.column_stack([np.full(count, 3), np.arange(count)])
    return draw_parameters(views, keys, np.tile(x.shape[2:], (count, 1)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 64])
def test_crops_are_torchvisions_to_a_rounding(interpolation, size):
    """Against torchvision on floats: its uint8 kernels clip the cubic's overshoot between rows and columns as well."""
    x = images()
    parameters = drawn(dataclasses.replace(EVERYTHING, rotation=0.0), x)
    got = augment.crop(x, parameters, size, interpolation)
    for n, image in enumerate(x):
        top, left, height, width = map(int, parameters.box[n])
        mode = INTERPOLATIONS[interpolation]
        expected = V.resized_crop(image.double(), top, left, height, width, [size, size], mode, antialias=True)
        expected = V.horizontal_flip(expected) if parameters.flip[n] else expected
        expected = expected.round().clamp(0, 255)
        assert (got[n].int() - expected.int()).abs().max() <= 1
    assert parameters.flip.any() and not parameters.flip.all()


def test_images_one_by_one_are_cut_as_in_a_batch():
    x = images()
    parameters = drawn(EVERYTHING, x)
    together = augment.crop(x, parameters, 32, "bilinear")
    single = torch.stack([augment.crop_one(x[n], parameters[n : n + 1], 32, "bilinear") for n in range(len(x))])
    # one by one, torchvision's rotation rounds to uint8 before the resize
    assert (together.int() - single.int()).abs().max() <= 2


def test_rotation_is_torchvisions():
    x = images().float()
    degrees = torch.linspace(-30, 30, len(x))
    got = augment.rotate(x, degrees)
    for n, image in enumerate(x):
        expected = V.rotate(image, float(degrees[n]), INTERPOLATIONS["bilinear"])
        torch.testing.assert_close(got[n], expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_of_the_jitter_is_torchvisions(name):
    x = images().double() / 255
    factors = torch.linspace(-0.5, 0.5, len(x)).double() if name == "hue" else torch.linspace(0, 2, len(x)).double()
    got = getattr(augment, name)(x, factors.view(-1, 1, 1, 1))
    for n, image in enumerate(x):
        expected = getattr(V, f"adjust_{name}")(image, float(factors[n]))
        torch.testing.assert_close(got[n], expected, atol=1e-6, rtol=0)


def test_all_colours_together_in_each_samples_own_order():
    x = images(height=64, width=64).double() / 255
    parameters = drawn(EVERYTHING, x)
    got = augment.colour(x, parameters, EVERYTHING)
    assert len({tuple(order) for order in parameters.order[parameters.jitter]}) > 5
    for n, image in enumerate(x):
        if parameters.jitter[n]:
            for kind in parameters.order[n]:
                image = getattr(V, f"adjust_{NAMES[kind]}")(image, float(parameters.factors[n, kind]))
        if parameters.grayscale[n]:
            image = V.rgb_to_grayscale(image, num_output_channels=3)
        if parameters.blur[n]:
            kernel, sigma = augment.blur_kernel(64), float(parameters.sigma[n])
            image = V.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
        if parameters.solarize[n]:
            image = V.solarize(image, 128 / 255)
        torch.testing.assert_close(got[n], image, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width", "kernel"), [(20, 20, 3), (32, 33, 5), (75, 100, 23), (64, 31, 9)])
def test_a_blur_is_torchvisions_on_either_side_of_a_block(height, width, kernel):
    images = torch.rand(3, 3, height, width, dtype=torch.float64)
    sigma = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64).view(-1, 1, 1, 1)
    found = augment.gaussian_blur(images, sigma, kernel)
    for blurred, image, s in zip(found, images, sigma.flatten().tolist()):
        torch.testing.assert_close(blurred, V.gaussian_blur(image, [kernel] * 2, [s] * 2), atol=1e-10, rtol=0)


def test_a_sample_does_not_depend_on_its_neighbours():
    x = images()
    parameters = drawn(EVERYTHING, x)
    whole = augment.colour(augment.crop(x, parameters, 32, "bilinear"), parameters, EVERYTHING)
    for n in range(len(x)):
        one = slice(n, n + 1)
        alone = augment.crop(x[one], parameters[one], 32, "bilinear")
        assert torch.equal(augment.colour(alone, parameters[one], EVERYTHING), whole[one])


def test_parameters_are_distributed_as_torchvisions():
    """Areas and aspects of boxes, shares of the applied steps, ranges of factors, over 4,000 samples."""
    from torchvision.transforms import v2

    keys, sizes = np.column_stack([np.zeros(4000), np.arange(4000)]), np.tile((40, 56), (4000, 1))
    ours = draw_parameters(EVERYTHING, keys, sizes)
    torch.manual_seed(0)
    reference = v2.RandomResizedCrop(32, EVERYTHING.crop_scale, EVERYTHING.crop_ratio)
    boxes = [reference.make_params([images(1)[0]]) for _ in range(4000)]
    theirs = np.array([[b["top"], b["left"], b["height"], b["width"]] for b in boxes])
    for quantile in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(
            np.quantile(ours.box, quantile, axis=0), np.quantile(theirs, quantile, axis=0), atol=1.6
        )
    assert np.all(ours.box[:, :2] >= 0) and np.all(ours.box[:, :2] + ours.box[:, 2:] <= sizes)
    for step, share in (("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.5), ("flip", 0.5), ("solarize", 0.5)):
        assert getattr(ours, step).mean() == pytest.approx(share, abs=0.03)
    np.testing.assert_allclose(ours.factors.min(axis=0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    np.testing.assert_allclose(ours.factors.max(axis=0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    assert 0.1 <= ours.sigma.min() < 0.12 and 1.98 < ours.sigma.max() <= 2.0


def test_a_box_that_never_fits_is_the_largest_centred_one():
    views = Views(crop_scale=(1.0, 1.0), crop_ratio=(3 / 4, 4 / 3))
    wide = draw_parameters(views, np.array([[0]]), np.array([[10, 100]]))
    tall = draw_parameters(views, np.array([[0]]), np.array([[100, 10]]))
    assert wide.box.tolist() == [[0, 43, 10, 13]] and tall.box.tolist() == [[43, 0, 13, 10]]
