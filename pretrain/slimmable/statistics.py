"""Which statistics a batch norm uses: the batch's own, group by group, those of all processes, or calibrated ones."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UncalibratedWidthError
from pretrain.run.distributed import all_reduce_sum
from pretrain.slimmable.grouped import GroupedBatchNorm
from pretrain.slimmable.ops import SlimBatchNorm

Moments = tuple[Tensor, Tensor]


class BatchStatistics:
    """Normalise every one of ``groups`` equal parts of the batch by its own mean and variance.

    A step's batch holds both views one after the other, so ``groups = 2 * chunks`` normalises each view, and of
    each view every chunk, separately (docs/method.md, sections 1 and 3).
    """

    def __init__(self, groups: int = 1):
        self.groups = groups

    def __call__(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        return self.normalise(norm, x) if self.groups == 1 else self.normalise_groups(norm, x)

    def normalise(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        weight, bias = norm.affine(x.shape[1])
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=norm.eps)

    def normalise_groups(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        """The same part by part; on CPUs without joining what was computed apart (a compiler does that by itself)."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return torch.cat([self.normalise(norm, part) for part in x.chunk(self.groups)])
        return GroupedBatchNorm.apply(x, *norm.affine(x.shape[1]), self.groups, norm.eps)


def batch_norms(backbone: nn.Module) -> dict[str, SlimBatchNorm]:
    """The slimmable batch norms of a backbone by name, in order."""
    return {name: module for name, module in backbone.named_modules() if isinstance(module, SlimBatchNorm)}


def batch_statistics(backbone: nn.Module, width: object) -> BatchStatistics:
    """What a backbone uses that was given no statistics: the batch's, but in eval mode never a silent wrong answer."""
    if not backbone.training:
        raise UncalibratedWidthError(
            f"a backbone in eval mode has no statistics for width {width}; calibrate it (UniversalNetwork.calibrate)"
        )
    return BatchStatistics()


class SynchronisedStatistics(BatchStatistics):
    """Batch statistics of all processes together, by a differentiable sum: works with gloo on CPUs as with nccl.

    torch's SyncBatchNorm has no multi-process path on CPUs. Two passes (mean, then squared deviations) instead of
    E[x^2] - E[x]^2, which cancels in fp32.
    """

    def normalise_groups(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        return torch.cat([self.normalise(norm, part) for part in x.chunk(self.groups)])

    def normalise(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        if not (dist.is_available() and dist.is_initialized()):
            return super().normalise(norm, x)
        dims = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        exact = x.double() if x.dtype == torch.float64 else x.float()
        count = exact.numel() // exact.shape[1] * dist.get_world_size()
        mean = all_reduce_sum(exact.sum(dims)) / count
        centred = exact - mean.view(shape)
        variance = all_reduce_sum(centred.square().sum(dims)) / count
        y = centred * torch.rsqrt(variance + norm.eps).view(shape)
        weight, bias = norm.affine(x.shape[1])
        if weight is not None:
            y = y * weight.view(shape) + bias.view(shape)
        return y.to(x.dtype)


def statistics_of(synchronised: bool, groups: int) -> BatchStatistics:
    """The statistics of this process's batch, or of all processes', in ``groups`` parts."""
    return SynchronisedStatistics(groups) if synchronised else BatchStatistics(groups)


class FixedStatistics:
    """Eval mode: normalise by given moments, one (mean, variance) for each batch norm."""

    def __init__(self, moments: dict[SlimBatchNorm, Moments]):
        self.moments = moments

    def __call__(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        mean, variance = self.moments[norm]
        weight, bias = norm.affine(x.shape[1])
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=norm.eps)
