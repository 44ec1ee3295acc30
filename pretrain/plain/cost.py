"""Parameters and multiply-accumulates of a plain network, counted by torch's own flop counter on the meta device."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pretrain.common.errors import UserError
from pretrain.common.shapes import shapes_only


@dataclass(frozen=True)
class Cost:
    """params: all parameters. macs: multiply-accumulates of convolutions, linear layers and attention for one image.

    Batch norms are not counted; the paper's Table 6 adds 2 operations for each of their output elements.
    """

    params: int
    macs: int


def image_channels(module: nn.Module) -> int:
    """Channels of the images that a network takes: 3 unless it says otherwise (``input_channels``)."""
    return getattr(module, "input_channels", 3)


def cost(module: nn.Module, image_size: int | tuple[int, int] = 224) -> Cost:
    """Cost of one forward pass of ``module``, which is left as it was, on [1, channels, height, width].

    image_size: the side of a square in pixels, or (height, width). Errors: UserError for anything else.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UserError(f"expected an image size in pixels, e.g. 224 or (224, 320), got {image_size!r}")
    shadow = copy.deepcopy(module).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), shapes_only():
        shadow(torch.empty(1, image_channels(module), *sides))
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2)
