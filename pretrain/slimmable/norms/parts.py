"""Batch norm of equal parts of a batch, each by its own statistics or by those of all processes: for GPUs and groups.

On a GPU, where every operation has to be launched, these are the kernels of torch's SyncBatchNorm: three launches a
part and pass instead of four. Across processes the statistics of all parts of a batch travel in one collective,
and so do the sums of the backward pass. GPUs and CPUs differ in ``kernels`` alone.
"""

from types import ModuleType

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from pretrain.common.devices import constant
from pretrain.slimmable.norms import part_kernels

Pair = tuple[Tensor | None, Tensor | None]


class PartsBatchNorm(torch.autograd.Function):
    """``apply(x, weight, bias, groups, eps, synchronised)`` -> (y, weight, bias), the latter for the next use."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float, synchronised: bool
    ) -> tuple[Tensor | None, ...]:
        kernels, parts, y = kernels_of(x), x.chunk(groups), torch.empty_like(x)
        moments = [kernels.batch_norm_stats(part, eps) for part in parts]
        if synchronised:
            moments = gathered(kernels, parts[0], moments, eps)
        used = first(weight, x), first(bias, x)
        for part, out, (mean, inverse) in zip(parts, y.chunk(groups), moments, strict=True):
            kernels.batch_norm_elemt(part, *used, mean, inverse, eps, out=out)
        ctx.save_for_backward(x, weight, *(one for pair in moments for one in pair))
        ctx.groups, ctx.synchronised = groups, synchronised
        ctx.set_materialize_grads(False)
        return y, *(None if one is None else one.view_as(one) for one in (weight, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor | None, *later: Tensor | None) -> tuple[Tensor | None, ...]:
        """later: the gradients of weight and bias, [C] each, from the uses after this one."""
        if grad is None:
            return None, *later, None, None, None
        x, weight, *moments = ctx.saved_tensors
        kernels, learns = kernels_of(x), weight is not None and ctx.needs_input_grad[1]
        last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        grad = grad.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        used = first(weight, x)
        each = list(zip(grad.chunk(ctx.groups), x.chunk(ctx.groups), moments[::2], moments[1::2], strict=True))
        sums = [kernels.batch_norm_backward_reduce(*part, used, True, learns, learns) for part in each]
        dx = input_gradient(kernels, each, used, sums, ctx.synchronised) if ctx.needs_input_grad[0] else None
        affine = added([found[2:] for found in sums], len(weight), later) if learns else (None, None)
        return dx, *affine, None, None, None


def kernels_of(x: Tensor) -> ModuleType:
    """torch's own on GPUs, the same functions in elementary operations elsewhere."""
    return torch if x.is_cuda else part_kernels


def first(parameter: Tensor | None, x: Tensor) -> Tensor | None:
    """The first c of a parameter [C], for ``x`` [B, c, ...]; None for None."""
    return None if parameter is None else parameter[: x.shape[1]]


def counts(part: Tensor, processes: int) -> Tensor:
    """Elements of a channel in a part, of each process: int32 [W]."""
    return constant((part.numel() // part.shape[1],) * processes, part.device, torch.int32)


def gathered(kernels: ModuleType, part: Tensor, moments: list[tuple[Tensor, Tensor]], eps: float) -> list:
    """(mean, 1 / deviation) of each part over all processes, which hold equally much of it. One collective."""
    mine = torch.stack([torch.stack(pair) for pair in moments])  # [G, 2, c]
    everyones = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(everyones, mine)
    all_moments = torch.stack(everyones, dim=2)  # [G, 2, W, c]
    numbers = counts(part, len(everyones)).to(mine.dtype)
    return [
        kernels.batch_norm_gather_stats_with_counts(part, means, inverses, None, None, 0.0, eps, numbers)
        for means, inverses in all_moments
    ]


def input_gradient(kernels: ModuleType, each: list, weight: Tensor | None, sums: list, synchronised: bool) -> Tensor:
    """dx of all parts. sums: (sum of dy, sum of dy (x - mean), …) of each part, in this process. One collective."""
    totals, processes = [found[:2] for found in sums], 1
    if synchronised:
        processes = dist.get_world_size()
        stacked = torch.stack([torch.stack(pair) for pair in totals])
        dist.all_reduce(stacked)
        totals = [pair.unbind() for pair in stacked]
    number = counts(each[0][1], processes)
    return torch.cat([
        kernels.batch_norm_backward_elemt(dy, x, mean, inverse, weight, *total, number)
        for (dy, x, mean, inverse), total in zip(each, totals, strict=True)
    ])  # fmt: skip


def added(found: list[Pair], channels: int, later: Pair) -> list[Tensor]:
    """Gradients of weight and bias, [C] each: ``later`` and the [c] of each part in ``found``."""
    total = list(found[0])
    if len(found) == 2:
        torch._foreach_add_(total, list(found[1]))
    elif len(found) > 2:
        total = [torch.stack(parts).sum(dim=0) for parts in zip(*found)]
    if later[0] is None:
        if len(total[0]) == channels:
            return total
        later = total[0].new_zeros(2, channels).unbind()
    torch._foreach_add_([one[: len(total[0])] for one in later], total)
    return list(later)
