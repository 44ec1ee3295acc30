"""Batch norm by groups and by fixed moments, against a batch norm written out."""

import torch

from pretrain.slimmable.norms import BatchStatistics, FixedStatistics, SynchronisedStatistics
from pretrain.slimmable.ops import SlimBatchNorm


def norm_of(channels: int) -> SlimBatchNorm:
    norm = SlimBatchNorm(channels).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return norm


def by_hand(norm, x, mean, variance):
    c = x.shape[1]
    shape = (1, c, 1, 1)
    y = (x - mean.view(shape)) / (variance.view(shape) + norm.eps).sqrt()
    return y * norm.weight[:c].view(shape) + norm.bias[:c].view(shape)


def test_each_group_is_normalised_by_itself():
    norm, x = norm_of(6), torch.randn(12, 4, 5, 5, dtype=torch.float64) * 3 + 1
    y = BatchStatistics(groups=4)(norm, x)
    for part, out in zip(x.chunk(4), y.chunk(4), strict=True):
        expected = by_hand(norm, part, part.mean((0, 2, 3)), part.var((0, 2, 3), unbiased=False))
        torch.testing.assert_close(out, expected)


def test_the_two_views_of_a_step_do_not_share_statistics():
    norm, view = norm_of(4), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    other = 10 * torch.randn(3, 4, 2, 2, dtype=torch.float64)
    first = BatchStatistics(groups=2)(norm, torch.cat([view, other]))[:3]
    torch.testing.assert_close(first, BatchStatistics()(norm, view))


def test_fixed_moments():
    norm, x = norm_of(4), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    mean, variance = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    torch.testing.assert_close(FixedStatistics({norm: (mean, variance)})(norm, x), by_hand(norm, x, mean, variance))


def test_synchronised_statistics_of_one_process_are_the_batchs():
    norm, x = norm_of(4), torch.randn(6, 4, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(SynchronisedStatistics(2)(norm, x), BatchStatistics(2)(norm, x))
