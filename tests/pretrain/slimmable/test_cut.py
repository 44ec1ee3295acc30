"""The cut of a weight that GPUs use, on the CPU: the slice and its gradient."""

import pytest
import torch

from pretrain.slimmable.cut import Cut


@pytest.mark.parametrize("shape", [(16, 12, 3, 3), (16, 12, 1, 1), (16, 12)])
@pytest.mark.parametrize("part", [(16, 7), (9, 12), (5, 3)])
def test_is_the_slice_with_its_gradient_in_the_layout_of_the_weight(shape, part):
    last = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    weight = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=last).requires_grad_()
    found, expected = Cut.apply(weight, *part, torch.float64), weight[: part[0], : part[1]]
    assert torch.equal(found, expected) and found.is_contiguous(memory_format=last)
    towards = torch.randn_like(expected)
    (got,), (plain,) = (torch.autograd.grad(one, weight, towards) for one in (found, expected))
    assert torch.equal(got, plain) and got.stride() == weight.stride()


def test_casts_on_the_way_there_and_back():
    weight = torch.randn(4, 6, requires_grad=True)
    found = Cut.apply(weight, 2, 3, torch.bfloat16)
    assert torch.equal(found, weight[:2, :3].bfloat16())
    found.float().sum().backward()
    assert weight.grad.dtype == torch.float32 and weight.grad.sum() == 6
