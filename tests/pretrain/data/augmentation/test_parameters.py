"""The random parameters of views: distributed as torchvision's."""

import numpy as np
import pytest
import torch

from pretrain.data.augmentation.parameters import draw_parameters
from pretrain.data.augmentation.settings import Augmentation
from tests.pretrain.data.augmentation.test_colour import EVERYTHING, images


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
    views = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(3 / 4, 4 / 3))
    wide = draw_parameters(views, np.array([[0]]), np.array([[10, 100]]))
    tall = draw_parameters(views, np.array([[0]]), np.array([[100, 10]]))
    assert wide.box.tolist() == [[0, 43, 10, 13]] and tall.box.tolist() == [[43, 0, 13, 10]]
