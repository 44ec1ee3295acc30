"""Stateless slimmable layers: a layer of C channels computes with its first c channels, c given by the call.

Yu et al., "Slimmable neural networks" (ICLR 2019) and "Universally slimmable networks" (ICCV 2019). Nothing here
remembers a width: input channels are read off the input, output channels are an argument.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.slimmable.cut import cut
from pretrain.slimmable.widths import round_channels


def convolve(x: Tensor, weight: Tensor, conv: nn.Conv2d, groups: int = 1) -> Tensor:
    """``conv`` with a part of its weight, and of its bias if it has one: [B, c_in, H, W] -> [B, c_out, H', W'].

    Maps of one pixel are computed in fp32 on CPUs, whatever the autocast: of a 3x3 kernel with stride 2 on such a map
    oneDNN leaves the weight's gradient in bf16 unfilled.
    """
    bias = None if conv.bias is None else conv.bias[: len(weight)]
    if x.device.type == "cpu" and x.shape[2:] == (1, 1) and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            y = F.conv2d(x.float(), weight, bias, conv.stride, conv.padding, conv.dilation, groups)
            return y.to(x.dtype)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, groups)


class SlimConv2d(nn.Conv2d):
    """``conv(x, c)``: [B, c_in, H, W] -> [B, c, H', W'] with the weight ``W[:c, :c_in]`` and the bias ``b[:c]``.

    padding: by default half the kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int | None = None, bias: bool = False
    ):
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding, bias=bias)

    def forward(self, x: Tensor, out_channels: int) -> Tensor:
        return convolve(x, cut(self.weight, out_channels, x.shape[1]), self)


class SlimDepthwiseConv2d(nn.Conv2d):
    """``conv(x)``: [B, c, H, W] -> [B, c, H', W'], a kernel a channel: ``W[:c]``, ``groups = c``, bias ``b[:c]``."""

    def __init__(self, channels: int, stride: int = 1, kernel: int = 3, bias: bool = False):
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight[: x.shape[1]], self, groups=x.shape[1])


class SlimLinear(nn.Linear):
    """``linear(x)``: [B, c_in] -> [B, out_features] with the weight ``W[:, :c_in]``; the output keeps its full size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, cut(self.weight, len(self.weight), x.shape[1]), self.bias)


class SlimLayerNorm(nn.LayerNorm):
    """``norm(x)``: layer norm over the last dimension, all c channels of it, with the first c of weight and bias."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[-1]
        return F.layer_norm(x, (channels,), self.weight[:channels], self.bias[:channels], self.eps)


def first_of_each(tensor: Tensor, dim: int, parts: int, size: int) -> Tensor:
    """The first ``size`` entries of each of ``parts`` equal parts of dimension ``dim``: how attention heads are cut.

    >>> first_of_each(torch.arange(6), 0, parts=2, size=2).tolist()
    [0, 1, 3, 4]
    """
    return tensor.unflatten(dim, (parts, -1)).narrow(dim + 1, 0, size).flatten(dim, dim + 1)


class SlimBatchNorm(nn.Module):
    """Batch norm whose affine parameters are shared by all widths (prefix slice) and that keeps no statistics.

    Which statistics normalise is an argument, because they differ per width and per use: those of the batch in
    training (``BatchStatistics``), calibrated ones in eval mode (``FixedStatistics``).

    private: widths that have affine parameters of their own instead (Yu et al., ICLR 2019), found by their number of
    channels, so widths that round to the same number share a set.
    """

    def __init__(self, channels: int, affine: bool = True, eps: float = 1e-5, private: tuple[float, ...] = ()):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        narrow = sorted({round_channels(channels, width) for width in private} - {channels})
        self.private = nn.ModuleDict({str(count): SlimBatchNorm(count) for count in narrow}) if private else None

    def affine(self, channels: int) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias [channels]: the first ones, or the private ones; (None, None) without affine parameters.

        Errors: UserError for a number of channels that has no private parameters.
        """
        if self.weight is None:
            return None, None
        owner = self.owner(channels)
        return owner.weight[:channels], owner.bias[:channels]

    def owner(self, channels: int) -> "SlimBatchNorm":
        """The norm whose first ``channels`` parameters are used: this one, or a private one; errors as ``affine``."""
        if self.private is None or channels == len(self.weight):
            return self
        if str(channels) not in self.private:
            raise UserError(f"{channels} channels have no batch norm of their own; expected {', '.join(self.private)}")
        return self.private[str(channels)]

    @torch.no_grad()
    def share(self) -> None:
        """Begin the private parameters as the first of the shared ones."""
        for count, own in () if self.private is None else self.private.items():
            own.weight.copy_(self.weight[: int(count)])
            own.bias.copy_(self.bias[: int(count)])

    def unused(self, widths: list[float]) -> list[nn.Parameter]:
        """The affine parameters that belong to other widths than ``widths``: only private ones do."""
        if self.private is None:
            return []
        sets = {len(self.weight): [self.weight, self.bias]}
        sets |= {int(count): list(norm.parameters()) for count, norm in self.private.items()}
        used = {round_channels(len(self.weight), width) for width in widths}
        return [parameter for count, own in sets.items() if count not in used for parameter in own]

    def forward(self, x: Tensor, statistics: "Statistics") -> Tensor:
        return statistics(self, x)


class Statistics(Protocol):
    """Normalises [B, C, ...] for a batch norm: the one decision that training, eval and calibration take apart."""

    def __call__(self, norm: SlimBatchNorm, x: Tensor) -> Tensor: ...
