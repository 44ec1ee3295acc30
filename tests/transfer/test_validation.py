"""What judges a width on validation images: neighbours, or the fast protocol's probe."""

from dataclasses import replace

import torch

from transfer.validation import Validation


def test_the_probe_finds_a_small_direction_that_neighbours_do_not_see():
    torch.manual_seed(0)
    labels = torch.arange(600) % 2
    features = torch.randn(600, 8)
    features[:, 0] = 0.5 * (2.0 * labels - 1) + 0.02 * torch.randn(600)
    features[:, 1:] *= 3
    images = torch.zeros(300, 3, 1, 1, dtype=torch.uint8)
    seen = Validation("two", images, labels[:300], images, labels[300:], 2, (0.5,) * 3, (0.5,) * 3)
    assert seen.top1(features[:300], features[300:]) < 80
    assert replace(seen, judge="linear").top1(features[:300], features[300:]) > 95
    assert replace(seen, judge="linear", classes=0).top1(features[:300], features[300:]) is None
