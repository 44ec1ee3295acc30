"""All views at once: what the naive arrangement makes of each view, on the CPU."""

import numpy as np
import pytest
import torch

from pretrain.data.augmentation.colour_stage import colour_stage
from pretrain.data.augmentation.parameters import draw_parameters
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.augmentation.together import colours_together
from tests.pretrain.data.augmentation.test_colour import images

MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
PAIRS = {
    "cifar": (Augmentation(), Augmentation()),
    "byol": (Augmentation(blur=1.0), Augmentation(blur=0.1, solarize=0.2)),
    "all": (Augmentation(jitter_p=1.0, grayscale=0.5, blur=0.5, solarize=0.5),) * 2,
    "nothing": (Augmentation(jitter_p=0.0, grayscale=0.0),) * 2,
    "one view": (Augmentation(blur=0.5),),
}


def both(views: tuple[Augmentation, ...], count: int, side: int, dtype: torch.dtype) -> tuple[list, list]:
    """Of ``count`` images of ``side`` px: the views at once, and each by itself."""
    x = torch.stack([images(count, side, side) for _ in views], dim=1)
    keys = np.column_stack([np.zeros(count, dtype=int), np.arange(count)])
    sizes = np.ones((count, 2))
    drawn = [draw_parameters(v, np.column_stack([keys, np.full(count, n)]), sizes) for n, v in enumerate(views)]
    torch.set_default_dtype(dtype)
    try:
        return colours_together(x, drawn, MEAN, STD), [
            colour_stage(x[:, n], parameters, view, MEAN, STD)
            for n, (parameters, view) in enumerate(zip(drawn, views, strict=True))
        ]
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("views", PAIRS.values(), ids=PAIRS)
def test_is_each_view_by_itself(views):
    got, expected = both(views, 24, 32, torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in got)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_bit_for_bit_without_blur_whatever_the_number(count):
    got, expected = both((Augmentation(solarize=0.3),) * 2, count, 16, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
