"""Colours of a batch against torchvision's functions, one sample after the other, by the same parameters."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as V

from pretrain.data.augmentation import colour as steps
from pretrain.data.augmentation.geometry import crop
from pretrain.data.augmentation.parameters import draw_parameters
from pretrain.data.augmentation.settings import Augmentation

EVERYTHING = Augmentation(crop_scale=(0.08, 1.0), rotation=20.0, blur=0.5, solarize=0.5, jitter=(0.4, 0.4, 0.2, 0.1))
NAMES = ("brightness", "contrast", "saturation", "hue")


def images(count: int = 24, height: int = 40, width: int = 56) -> torch.Tensor:
    """Smooth coloured uint8 images with some flat (grey and black) patches, where hue is undefined."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 5, 7, generator=generator)
    x = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    x[:, :, :8, :8], x[:, :, 8:16, :8] = 0.0, 0.4
    return (x * 255).round().to(torch.uint8)


def drawn(augmentation: Augmentation, x: torch.Tensor):
    count = len(x)
    keys = np.column_stack([np.full(count, 3), np.arange(count)])
    return draw_parameters(augmentation, keys, np.tile(x.shape[2:], (count, 1)))


@pytest.mark.parametrize("name", NAMES)
def test_every_step_of_the_jitter_is_torchvisions(name):
    x = images().double() / 255
    factors = torch.linspace(-0.5, 0.5, len(x)).double() if name == "hue" else torch.linspace(0, 2, len(x)).double()
    got = getattr(steps, name)(x, factors.view(-1, 1, 1, 1))
    for n, image in enumerate(x):
        expected = getattr(V, f"adjust_{name}")(image, float(factors[n]))
        torch.testing.assert_close(got[n], expected, atol=1e-6, rtol=0)


def test_all_colours_together_in_each_samples_own_order():
    x = images(height=64, width=64).double() / 255
    parameters = drawn(EVERYTHING, x)
    got = steps.colour(x, parameters, EVERYTHING)
    assert len({tuple(order) for order in parameters.order[parameters.jitter]}) > 5
    for n, image in enumerate(x):
        if parameters.jitter[n]:
            for kind in parameters.order[n]:
                image = getattr(V, f"adjust_{NAMES[kind]}")(image, float(parameters.factors[n, kind]))
        if parameters.grayscale[n]:
            image = V.rgb_to_grayscale(image, num_output_channels=3)
        if parameters.blur[n]:
            kernel, sigma = steps.blur_kernel(64), float(parameters.sigma[n])
            image = V.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
        if parameters.solarize[n]:
            image = V.solarize(image, 128 / 255)
        torch.testing.assert_close(got[n], image, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width", "kernel"), [(20, 20, 3), (32, 33, 5), (75, 100, 23), (64, 31, 9)])
def test_a_blur_is_torchvisions_on_either_side_of_a_block(height, width, kernel):
    images = torch.rand(3, 3, height, width, dtype=torch.float64)
    sigma = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64).view(-1, 1, 1, 1)
    found = steps.gaussian_blur(images, sigma, kernel)
    for blurred, image, s in zip(found, images, sigma.flatten().tolist()):
        torch.testing.assert_close(blurred, V.gaussian_blur(image, [kernel] * 2, [s] * 2), atol=1e-10, rtol=0)


def test_a_sample_does_not_depend_on_its_neighbours():
    x = images()
    parameters = drawn(EVERYTHING, x)
    whole = steps.colour(crop(x, parameters, 32, "bilinear"), parameters, EVERYTHING)
    for n in range(len(x)):
        one = slice(n, n + 1)
        alone = crop(x[one], parameters[one], 32, "bilinear")
        assert torch.equal(steps.colour(alone, parameters[one], EVERYTHING), whole[one])
