"""Which statistics a batch norm uses: the batch's own, group by group, those of all processes, or calibrated ones."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UncalibratedWidthError
from pretrain.slimmable.norms.affine import AffineChain
from pretrain.slimmable.norms.grouped import GroupedBatchNorm
from pretrain.slimmable.ops import SlimBatchNorm

Moments = tuple[Tensor, Tensor]


class BatchStatistics:
    """Normalise every one of ``groups`` equal parts of the batch by its own mean and variance.

    A step's batch holds both views one after the other, so ``groups = 2 * chunks`` normalises each view, and of
    each view every chunk, separately (docs/method.md, sections 1 and 3).
    """

    synchronised = False

    def __init__(self, groups: int = 1):
        self.groups, self.chain = groups, AffineChain()

    def __call__(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # a compiler joins the parts by itself
            return torch.cat([self.normalise(norm, part) for part in x.chunk(self.groups)])
        if self.synchronised or x.is_cuda:
            return self.chain.normalise(norm.owner(x.shape[1]), x, self.groups, norm.eps, self.synchronised)
        if self.groups == 1:
            return self.normalise(norm, x)
        return GroupedBatchNorm.apply(x, *norm.affine(x.shape[1]), self.groups, norm.eps)

    def normalise(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        """One part."""
        weight, bias = norm.affine(x.shape[1])
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=norm.eps)


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
    """Batch statistics of all processes together, on CPUs by gloo as on GPUs by nccl; alone, those of the batch."""

    @property
    def synchronised(self) -> bool:
        return dist.is_available() and dist.is_initialized()


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
