"""The affine parameters of a norm, which every network of a step uses.

Left to autograd, each use pads its gradient to all channels, twice, and adds it to the others'. Here each use hands the
parameters on to the next one, so that the backward pass brings it the gradient so far, to which it adds its own
channels.
"""

import torch
from torch import Tensor, nn

from pretrain.slimmable.norms.fused import FusedBatchNorm, can_fuse
from pretrain.slimmable.norms.parts import Pair, PartsBatchNorm


class AffineChain:
    """The affine parameters of norms as the next use in a step takes them: weight and bias, both [C] or None."""

    def __init__(self):
        self.latest: dict[nn.Module, Pair] = {}

    def normalise(self, norm: nn.Module, x: Tensor, groups: int, eps: float, synchronised: bool) -> Tensor:
        """[B, c, ...] -> the same shape, with the first c of the parameters of ``norm``."""
        weight, bias = self.latest.get(norm, (norm.weight, norm.bias))
        if not synchronised and can_fuse(x, groups):
            y, *handed_on = FusedBatchNorm.apply(x, weight, bias, groups, eps)
        else:
            y, *handed_on = PartsBatchNorm.apply(x, weight, bias, groups, eps, synchronised)
        if torch.is_grad_enabled() and weight is not None:
            self.latest[norm] = tuple(handed_on)
        return y
