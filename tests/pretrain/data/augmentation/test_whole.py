"""Views of a whole list of images: those of each image alone, whatever else is in the list."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from pretrain.data.augmentation.colour import colour
from pretrain.data.augmentation.geometry import crop, crop_one
from pretrain.data.augmentation.parameters import draw_parameters
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.augmentation.whole import augmented_views, by_size

EVERYTHING = Augmentation(crop_scale=(0.2, 1.0), rotation=20.0, interpolation="bicubic", blur=0.5, solarize=0.5)
PLAIN = Augmentation(crop_scale=(0.8, 1.0), interpolation="bicubic", jitter_p=0.0, grayscale=0.0)
SIZES = ((32, 32), (120, 80), (32, 32), (24, 40), (120, 80), (32, 32))


def images(sizes=SIZES) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


def keys(count: int = len(SIZES), seed: int = 7) -> np.ndarray:
    return np.column_stack([np.full(count, seed), np.arange(count)])


@pytest.mark.parametrize("views", [EVERYTHING, PLAIN])
def test_a_view_depends_on_its_image_and_key_alone(views):
    pictures = images()
    together = augmented_views(pictures, keys(), views, 24)
    assert together.shape == (6, 3, 24, 24) and together.dtype == torch.uint8
    for order in ([4], [2, 0], [5, 4, 3, 2, 1, 0]):
        some = augmented_views([pictures[i] for i in order], keys()[order], views, 24)
        assert torch.equal(some, together[order])
    assert not torch.equal(augmented_views(pictures, keys(seed=8), views, 24), together)


def one_by_one(batch, parameters, size, interpolation):
    return torch.stack([crop_one(image, parameters[n : n + 1], size, interpolation) for n, image in enumerate(batch)])


@pytest.mark.parametrize(("size", "cut"), [((32, 40), crop), ((96, 90), crop), ((97, 90), one_by_one)])
def test_small_images_are_cut_by_matrices_and_larger_ones_by_torchvision(size, cut):
    batch = torch.stack(images([size] * 8))
    parameters = draw_parameters(PLAIN, keys(8), np.tile(size, (8, 1)))
    assert torch.equal(augmented_views(batch, keys(8), PLAIN, 24), cut(batch, parameters, 24, "bicubic"))


def test_colours_follow_to_a_rounding():
    batch = torch.stack(images([(32, 32)] * 8))
    parameters = draw_parameters(EVERYTHING, keys(8), np.full((8, 2), 32))
    expected = colour(crop(batch, parameters, 32, "bicubic"), parameters, EVERYTHING)
    got = augmented_views(batch, keys(8), EVERYTHING, 32)
    torch.testing.assert_close(got / 255, expected, rtol=0, atol=0.5001 / 255)


def test_images_of_one_size_are_viewed_together_and_come_back_in_their_order():
    seen = []

    def mark(group, rows):
        seen.append(rows)
        return group[:, 0, 0, 0]

    pictures = images()
    assert by_size(pictures, mark).tolist() == [int(image[0, 0, 0]) for image in pictures]
    assert seen == [[0, 2, 5], [1, 4], [3]]


@pytest.mark.parametrize("size", [(32, 32), (20, 31), (120, 80)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_torchvision_resizes_a_batch_as_it_does_each_image(size, channels_last):
    """Bit for bit; the view of evaluation relies on it."""
    batch = torch.stack(images([size] * 5))
    batch = batch.contiguous(memory_format=torch.channels_last) if channels_last else batch
    view = v2.Compose([v2.Resize(36, InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(32)])
    assert torch.equal(by_size(list(batch), lambda group, rows: view(group)), torch.stack([view(x) for x in batch]))
