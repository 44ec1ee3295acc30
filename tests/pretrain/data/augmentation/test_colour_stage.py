"""Colours and normalisation together: the naive steps one after the other, whatever the slices."""

import dataclasses

import pytest
import torch

from pretrain.data.augmentation import colour_stage
from pretrain.data.augmentation.colour import colour
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import Augmentation
from tests.pretrain.data.augmentation.test_colour import drawn, images

AUGMENTATION = Augmentation(blur=0.5, solarize=0.3)
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


@pytest.mark.parametrize("side", [32, 45, 224])
def test_a_batch_is_its_samples_one_by_one_bit_for_bit(side, monkeypatch):
    x = images(12, side, side)
    parameters = drawn(AUGMENTATION, x)
    whole = colour_stage.colour_stage(x, parameters, AUGMENTATION, MEAN, STD)
    alone = [colour_stage.colour_stage(x[n : n + 1], parameters[n : n + 1], AUGMENTATION, MEAN, STD) for n in range(12)]
    assert torch.equal(whole, torch.cat(alone))
    for count in (5, 12):
        monkeypatch.setattr(colour_stage, "slice_length", lambda _, count=count: count)
        assert torch.equal(colour_stage.colour_stage(x, parameters, AUGMENTATION, MEAN, STD), whole)


def test_photographs_go_singly_small_images_by_the_hundred():
    lengths = [colour_stage.slice_length(torch.empty(512, 3, side, side)) for side in (32, 224)]
    assert lengths == [170, 1]


def test_no_images_give_none():
    x = images(4, 16, 16)
    assert colour_stage.colour_stage(x[:0], drawn(AUGMENTATION, x)[:0], AUGMENTATION, MEAN, STD).shape == (0, 3, 16, 16)


def test_it_is_colour_and_then_normalisation_in_channels_last():
    x = images(6, 40, 40)
    parameters = drawn(AUGMENTATION, x)
    got = colour_stage.colour_stage(x, parameters, AUGMENTATION, MEAN, STD)
    expected = normalise(colour(x.double() / 255, parameters, AUGMENTATION), MEAN, STD)
    torch.testing.assert_close(got, expected.float(), atol=2e-5, rtol=0)
    assert got.is_contiguous(memory_format=torch.channels_last) and got.dtype == torch.float32


def test_views_without_colours_are_the_images():
    plain = dataclasses.replace(AUGMENTATION, jitter_p=0.0, grayscale=0.0, blur=0.0, solarize=0.0)
    x = images(3, 16, 16)
    torch.testing.assert_close(colour_stage.colour_stage(x, drawn(plain, x), plain, [0.0] * 3, [1.0] * 3), x / 255)
