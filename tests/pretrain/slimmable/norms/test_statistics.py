"""Batch norm by groups and by fixed moments, against a batch norm written out."""

import pytest
import torch

from pretrain.slimmable.norms.statistics import BatchStatistics, FixedStatistics, SynchronisedStatistics
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(8, 16, 5, 5), (8, 16)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_groups_written_in_place_are_the_bits_of_groups_joined(dtype, affine, shape, channels_last):
    torch.manual_seed(0)
    norm = SlimBatchNorm(16, affine=affine).to(torch.float64 if dtype == torch.float64 else torch.float32)
    if affine:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x, statistics = torch.randn(shape).to(dtype), BatchStatistics(groups=4)
    if channels_last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    found = outcome(norm, x, lambda x: statistics(norm, x))
    expected = outcome(norm, x, lambda x: torch.cat([statistics.normalise(norm, part) for part in x.chunk(4)]))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)


def outcome(norm, x, normalise) -> list[torch.Tensor]:
    """The normalised x, and the gradients of x and of the norm's parameters."""
    norm.zero_grad()
    x = x.clone().requires_grad_()
    y = normalise(x)
    (y * torch.linspace(-1, 2, y.numel()).view_as(y).to(y.dtype)).sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in norm.parameters())]


def test_fixed_moments():
    norm, x = norm_of(4), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    mean, variance = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    torch.testing.assert_close(FixedStatistics({norm: (mean, variance)})(norm, x), by_hand(norm, x, mean, variance))


def test_synchronised_statistics_of_one_process_are_the_batchs():
    norm, x = norm_of(4), torch.randn(6, 4, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(SynchronisedStatistics(2)(norm, x), BatchStatistics(2)(norm, x))
