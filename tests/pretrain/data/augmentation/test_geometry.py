"""Geometry of a batch and of single images against torchvision's functions, by the same parameters."""

import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional as V

from pretrain.data.augmentation import geometry
from pretrain.data.augmentation.settings import INTERPOLATIONS
from tests.pretrain.data.augmentation.test_colour import EVERYTHING, drawn, images


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 64])
def test_crops_are_torchvisions_to_a_rounding(interpolation, size):
    """Against torchvision on floats: its uint8 kernels clip the cubic's overshoot between rows and columns as well."""
    x = images()
    parameters = drawn(dataclasses.replace(EVERYTHING, rotation=0.0), x)
    got = geometry.crop(x, parameters, size, interpolation)
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
    together = geometry.crop(x, parameters, 32, "bilinear")
    single = torch.stack([geometry.crop_one(x[n], parameters[n : n + 1], 32, "bilinear") for n in range(len(x))])
    # one by one, torchvision's rotation rounds to uint8 before the resize
    assert (together.int() - single.int()).abs().max() <= 2


def test_rotation_is_torchvisions():
    x = images().float()
    degrees = torch.linspace(-30, 30, len(x))
    got = geometry.rotate(x, degrees)
    for n, image in enumerate(x):
        expected = V.rotate(image, float(degrees[n]), INTERPOLATIONS["bilinear"])
        torch.testing.assert_close(got[n], expected, atol=0.02, rtol=0)
