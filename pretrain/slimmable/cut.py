"""``W[:o, :i]`` on a GPU: one operation forward and two backward, where slices, casts and autograd take five and more.

A slice of both dimensions is no tensor that a convolution takes: it is cast and copied, and on the way back each of the
two slices pads its gradient with zeros to all rows or columns, in the layout of the slice.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def cut(weight: Tensor, outputs: int, inputs: int) -> Tensor:
    """The first ``outputs`` rows and ``inputs`` columns of [O, I, …], on a GPU in the number format of autocast."""
    if (outputs, inputs) == weight.shape[:2]:
        return weight
    if not weight.is_cuda or torch.compiler.is_compiling():
        return weight[:outputs, :inputs]
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else weight.dtype
    return Cut.apply(weight, outputs, inputs, dtype)


class Cut(torch.autograd.Function):
    """``apply(weight, outputs, inputs, dtype)``: weights [outputs, inputs, …] in one piece, in the layout of all."""

    @staticmethod
    def forward(ctx, weight: Tensor, outputs: int, inputs: int, dtype: torch.dtype) -> Tensor:
        ctx.whole = weight.detach()
        last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
        part = weight.detach()[:outputs, :inputs]
        return part.to(dtype, memory_format=torch.channels_last if last else torch.contiguous_format, copy=True)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        whole = torch.zeros_like(ctx.whole)
        whole[: grad.shape[0], : grad.shape[1]].copy_(grad)
        return whole, None, None, None
