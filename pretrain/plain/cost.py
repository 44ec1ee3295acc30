"""Parameters and multiply-accumulates of a plain network, counted by torch's own flop counter on the meta device."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """params: all parameters. macs: multiply-accumulates of convolutions, linear layers and attention for one image.

    Batch norms are not counted; the paper's Table 6 adds 2 operations for each of their output elements.
    """

    params: int
    macs: int


def cost(module: nn.Module, image_size: int = 224) -> Cost:
    """Cost of one [1, 3, image_size, image_size] forward pass of ``module``, which is left as it was."""
    shadow = copy.deepcopy(module).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, image_size, image_size, device="meta"))
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2)
