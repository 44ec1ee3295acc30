"""Batch norm of equal parts of a batch, each by its own statistics, without joining the parts afterwards.

``torch.cat`` of the normalised parts reads and writes every activation once more than the norm itself: a quarter of the
norm's forward pass on CPUs. Here each part is written where it belongs. Same kernels, same bits.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GroupedBatchNorm(torch.autograd.Function):
    """``apply(x, weight, bias, groups, eps)``: [B, C, ...] on a CPU -> the same shape. weight, bias: [C] or None."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float) -> Tensor:
        y, moments = torch.empty_like(x), []
        dtype = x.dtype if weight is None else weight.dtype  # of statistics: fp32 also where x is bf16
        for part, out in zip(x.chunk(groups), y.chunk(groups)):
            mean, inverse = (x.new_empty(x.shape[1], dtype=dtype) for _ in range(2))
            torch.native_batch_norm(part, weight, bias, None, None, True, 0.0, eps, out=(out, mean, inverse))
            moments += [mean, inverse]
        ctx.save_for_backward(x, weight, *moments)
        ctx.groups, ctx.eps = groups, eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *moments = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        dx, dweight, dbias = torch.empty_like(x), None, None
        parts = zip(x.chunk(ctx.groups), grad.chunk(ctx.groups), dx.chunk(ctx.groups), moments[::2], moments[1::2])
        for part, g, out, mean, inverse in reversed(list(parts)):  # the order in which autograd adds them up
            found = torch.ops.aten.native_batch_norm_backward(
                g, part, weight, None, None, mean, inverse, True, ctx.eps, wanted
            )
            if wanted[0]:
                out.copy_(found[0])
            if wanted[1]:
                dweight = found[1] if dweight is None else dweight.add_(found[1])
            if wanted[2]:
                dbias = found[2] if dbias is None else dbias.add_(found[2])
        return dx if wanted[0] else None, dweight, dbias, None, None
