"""Operations are counted as multiplications and additions, and a peak is a rate of them."""

import torch
from torch.nn.functional import conv2d

from benchmark.machine import operations, peak_flops


def test_a_multiply_add_is_two_operations():
    assert operations(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7
    assert operations(lambda: conv2d(torch.ones(2, 4, 9, 9), torch.ones(6, 4, 3, 3))) == 2 * 2 * 6 * 7 * 7 * 4 * 9


def test_the_peak_is_that_of_the_faster_kind(monkeypatch):
    """With both in one second, the kind of more operations: the convolution."""
    monkeypatch.setattr("benchmark.machine.medians", lambda calls, repeats, device: dict.fromkeys(calls, 1.0))
    assert peak_flops("fp32", "cpu") == 2 * 9 * 64 * 256**2 * 16**2 > 2 * 2048**3
