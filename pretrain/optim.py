"""Optimiser pieces of the method: group regularisation in closed form, the learning rate of an iteration."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pretrain.slimmable.ops import SlimBatchNorm, SlimConv2d, SlimDepthwiseConv2d


def group_strength(channels: int, weight_decay: float, groups: int, alpha: float) -> Tensor:
    """2 lambda_k of every output channel k, float64 [channels] (US3L, Eq. 5).

    lambda_k = lambda (1 - alpha * group(k)), group(k) = min(floor(k / floor(K / G)), G - 1) with k from 0: channels
    that only wide networks use are regularised less. 2 * lambda = weight_decay.
    """
    size = max(1, channels // groups)
    group = torch.clamp(torch.arange(channels) // size, max=groups - 1).double()
    return weight_decay * (1 - alpha * group)


class GroupRegularisation:
    """Adds the gradient of sum_k lambda_k ||w_k||^2 (US3L, Eq. 4), 2 lambda_k w_k, to every gradient.

    Grouped by output channel on the backbone's convolutions and batch norms; plain lambda on everything else. Replaces
    weight decay: with alpha = 0 it is bit-equal to SGD's own. Closed form, because a loss term costs 25 times as much.

    model: the module to regularise, parameters without requires_grad left out; backbone: its grouped part.
    """

    def __init__(
        self, model: nn.Module, backbone: nn.Module, weight_decay: float, groups: int = 8, alpha: float = 0.05
    ):
        grouped = {
            parameter
            for module in backbone.modules()
            if isinstance(module, SlimConv2d | SlimDepthwiseConv2d | SlimBatchNorm)
            for parameter in module.parameters(recurse=False)
        }
        self.terms: list[tuple[nn.Parameter, Tensor]] = []
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue
            strength = group_strength(len(parameter), weight_decay, groups, alpha if parameter in grouped else 0.0)
            shape = [-1] + [1] * (parameter.dim() - 1)
            self.terms.append((parameter, strength.to(parameter).view(shape)))

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Call after the gradients are reduced and unscaled, before the optimizer's step."""
        for parameter, strength in self.terms:
            parameter.grad.addcmul_(parameter, strength)

    def loss(self) -> Tensor:
        """The regulariser itself, Eq. 4: what ``add_gradients`` is the gradient of."""
        return sum((p.square() * strength).sum() / 2 for p, strength in self.terms)


def cosine(iteration: int, iterations: int) -> float:
    """Factor of the learning rate: from 1 at iteration 0 down to 0 at ``iterations``, no warm-up."""
    return 0.5 * (1 + math.cos(math.pi * iteration / iterations))


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> torch.optim.SGD:
    """SGD without weight decay, which ``GroupRegularisation`` replaces."""
    return torch.optim.SGD([p for p in parameters if p.requires_grad], lr=lr, momentum=momentum, fused=True)
