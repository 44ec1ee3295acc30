"""Calibration sees the same batches in every pass, each process its part of them."""

import torch

from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.calibration import CalibrationBatches
from pretrain.data.images.datasets import image_dataset


def test_calibration_batches_repeat_exactly_and_are_dealt_out_to_processes():
    source = image_dataset("digits", images_per_class=3)

    def batches(rank=0, size=1):
        return CalibrationBatches(source, Augmentation(), 32, 8, 3, 0, [0.5] * 3, [0.5] * 3, rank, size)

    whole = list(batches())
    assert len(batches()) == 3 and whole[0].shape == (8, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(whole, batches(), strict=True))
    dealt = [list(batches(r, 2)) for r in (0, 1)]
    assert [len(d) for d in dealt] == [2, 1]
    assert torch.equal(dealt[1][0], whole[1]) and torch.equal(dealt[0][1], whole[2])
    assert all(len(list(batches(r, 5))) == 3 for r in range(5))
