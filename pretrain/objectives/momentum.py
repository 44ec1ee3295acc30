"""The momentum encoder m: an exponential average of f's parameters, never of statistics.

He et al., "Momentum contrast" (CVPR 2020). A coefficient that rises to 1 on a cosine is from Grill et al., "Bootstrap
your own latent" (NeurIPS 2020), as in Chen et al., "An empirical study of training self-supervised vision transformers"
(MoCo v3, ICCV 2021). US3L (CVPR 2023) keeps 0.99 throughout.
"""

import copy
import math

import torch
from torch import Tensor, nn

from pretrain.slimmable.ops import Statistics


def coefficient(start: float, end: float, progress: float) -> float:
    """From ``start`` at progress 0 to ``end`` at 1 on a half cosine.

    >>> [round(coefficient(0.99, 1.0, p), 4) for p in (0, 0.5, 1)]
    [0.99, 0.995, 1.0]
    """
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


class MomentumEncoder(nn.Module):
    """A copy of backbone and projector without gradients; ``m(x, width, statistics)`` -> projections [B, D]."""

    def __init__(self, backbone: nn.Module, projector: nn.Module):
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.projector = copy.deepcopy(projector)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor, width: float, statistics: Statistics) -> Tensor:
        return self.projector(self.backbone(x, width, statistics), statistics)

    @torch.no_grad()
    def update(self, backbone: nn.Module, projector: nn.Module, momentum: float) -> None:
        """m <- momentum * m + (1 - momentum) * f."""
        online = [*backbone.parameters(), *projector.parameters()]
        torch._foreach_lerp_(list(self.parameters()), online, 1 - momentum)
