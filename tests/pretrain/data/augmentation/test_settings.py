"""What settings of views mean, in torchvision's transforms: the right steps, the right sizes."""

import pytest
import torch

from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import Augmentation

IMAGE = torch.randint(0, 256, (3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_views_are_uint8_of_the_asked_size():
    view = Augmentation().transform(32)(IMAGE)
    assert view.shape == (3, 32, 32) and view.dtype == torch.uint8


@pytest.mark.parametrize(("p", "count"), [(0.0, 0), (1.0, 10)])
def test_probabilities_are_those_of_the_settings(p, count):
    transform = Augmentation(grayscale=p, jitter_p=0.0).transform(16)
    views = [transform(IMAGE) for _ in range(10)]
    assert sum(bool((v[0] == v[1]).all() and (v[1] == v[2]).all()) for v in views) == count


def test_crops_cover_the_asked_share_of_the_image():
    """A whole-image crop without colour is a resize."""
    square = IMAGE[:, :40, :40]
    views = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0, jitter_p=0.0, grayscale=0.0)
    assert torch.equal(views.transform(40)(square), square)


def test_normalise_is_the_definition():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    got = normalise(images, mean, std)
    for c in range(3):
        torch.testing.assert_close(got[:, c], (images[:, c] / 255 - mean[c]) / std[c])
