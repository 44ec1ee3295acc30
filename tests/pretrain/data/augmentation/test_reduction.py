"""Decoding at reduced scale: only where every view keeps its pixels, equal elsewhere, close where it happens."""

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain.data.augmentation.reduction import reduction, scaled
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images.datasets import image_dataset
from pretrain.data.loader import CutViews
from tests.pretrain.helpers import tiny_config

LARGE_CROPS = Augmentation(crop_scale=(0.8, 1.0))


def picture(height: int, width: int) -> Image.Image:
    """Smooth colours and an edge."""
    y, x = np.mgrid[:height, :width] / 64
    pixels = 127 + 60 * np.stack([np.sin(x + y), np.cos(2 * x - y), np.sin(3 * y)], axis=-1)
    pixels[: height // 3, : width // 2] += 40
    return Image.fromarray(pixels.astype(np.uint8))


def loaded(root, image_size: int, decode: str, views: Augmentation = LARGE_CROPS) -> torch.Tensor:
    source = image_dataset("folder", root)
    keys = [(epoch, i) for epoch in range(4) for i in range(len(source))]
    return CutViews(source, [views, views], image_size, 0, decode).__getitems__(keys).images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    return tmp_path / "train" / "a"


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((100, 300), 1), ((199, 300), 1), ((200, 300), 2), ((399, 400), 2), ((400, 900), 4), ((801, 900), 8)],
)
def test_a_reduction_leaves_every_box_the_size_of_the_views(sides, expected):
    boxes = np.array([[3, 4, *sides], [0, 0, 900, 900]])
    assert reduction(boxes, 100) == expected
    assert (scaled(boxes, (950, 951), (-(-950 // expected), -(-951 // expected)))[:, 2:] >= 100).all()


def test_boxes_are_scaled_with_the_image_and_stay_in_it():
    boxes = np.array([[0, 0, 101, 75], [1, 25, 100, 50], [99, 74, 2, 1]])
    got = scaled(boxes, (101, 75), (51, 38))
    assert got.tolist()[:2] == [[0, 0, 51, 38], [1, 13, 50, 25]]
    assert (got[:, :2] + got[:, 2:] <= [51, 38]).all() and (got[:, 2:] >= 1).all()
    assert np.array_equal(scaled(boxes, (101, 75), (101, 75)), boxes)


def test_views_are_equal_where_nothing_may_be_reduced(folder):
    picture(120, 100).save(folder / "x.jpg")
    assert torch.equal(loaded(folder.parents[1], 64, "full"), loaded(folder.parents[1], 64, "reduced"))


def test_views_of_large_jpegs_are_close_and_from_fewer_pixels(folder):
    picture(400, 510).save(folder / "x.jpg", quality=95)
    source = image_dataset("folder", folder.parents[1])
    assert source.open(0).decode(4).shape == (3, 100, 128)
    full, reduced = (loaded(folder.parents[1], 48, decode).int() for decode in ("full", "reduced"))
    difference = (full - reduced).abs().float().flatten(2).mean(dim=2)
    assert difference.min() > 0 and difference.max() < 6  # boxes move by up to half a reduced pixel, 2 px here
    assert (full - reduced.roll(1, dims=0)).abs().float().mean() > 4 * difference.mean()


def test_what_is_no_jpeg_is_decoded_whole(folder):
    picture(400, 510).save(folder / "x.png")
    assert image_dataset("folder", folder.parents[1]).open(0).decode(4).shape == (3, 400, 510)
    assert torch.equal(loaded(folder.parents[1], 48, "full"), loaded(folder.parents[1], 48, "reduced"))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes_become_rgb_at_any_scale(folder, mode):
    picture(80, 64).convert(mode).save(folder / "x.jpg")
    assert image_dataset("folder", folder.parents[1]).open(0).decode(2).shape == (3, 40, 32)


def test_it_is_chosen_in_the_config():
    assert tiny_config().data.decode == "full"
    assert tiny_config(data={"decode": "reduced"}).data.decode == "reduced"
    with pytest.raises(ValueError, match="data.decode: unknown 'half'; valid: full, reduced"):
        tiny_config(data={"decode": "half"})
