"""Slimmable ConvNeXt V2. Parameter names are timm's, so that extraction is a prefix slice.

Woo et al. (CVPR 2023); widths as in US3L (CVPR 2023), section 3.1: every stage rounds by itself, its MLPs have four
times as many channels. Layer norm and global response normalisation see the channels that there are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.plain.convnext import (
    DEPTHS,
    EPS,
    KERNEL,
    MLP_RATIO,
    SIZES,
    ConvNeXtChannels,
    GlobalResponseNorm,
    PlainConvNeXt,
    initialise,
    response_norm,
)
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.groups import ChannelGroup, Slot, module_slots
from pretrain.slimmable.ops import SlimConv2d, SlimDepthwiseConv2d, SlimLayerNorm, Statistics
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, Plan, WidthSpace, round_channels

PATCH = 4


class SlimLayerNorm2d(SlimLayerNorm):
    """Layer norm over the channels of [B, c, H, W]."""

    def __init__(self, channels: int):
        super().__init__(channels, EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SlimResponseNorm(GlobalResponseNorm):
    """The norm of the first channels [B, c, H, W], with the first c of weight and bias."""

    def forward(self, x: Tensor) -> Tensor:
        return response_norm(x, self.weight[: x.shape[1]], self.bias[: x.shape[1]])


class SlimMlp(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = SlimConv2d(channels, MLP_RATIO * channels, 1, bias=True)
        self.grn = SlimResponseNorm(MLP_RATIO * channels)
        self.fc2 = SlimConv2d(MLP_RATIO * channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return self.fc2(self.grn(F.gelu(self.fc1(x, MLP_RATIO * channels))), channels)


class SlimBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv_dw = SlimDepthwiseConv2d(channels, kernel=KERNEL, bias=True)
        self.norm, self.mlp = SlimLayerNorm2d(channels), SlimMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(self.conv_dw(x)))


class SlimStage(nn.Module):
    """inputs: channels of the stage before, None for the first stage, which keeps the stem's."""

    def __init__(self, inputs: int | None, channels: int, depth: int):
        super().__init__()
        self.downsample = None
        if inputs is not None:
            reduce = SlimConv2d(inputs, channels, 2, 2, padding=0, bias=True)
            self.downsample = nn.ModuleList([SlimLayerNorm2d(inputs), reduce])
        self.blocks = nn.Sequential(*(SlimBlock(channels) for _ in range(depth)))

    def forward(self, x: Tensor, channels: int) -> Tensor:
        if self.downsample is not None:
            norm, reduce = self.downsample
            x = reduce(norm(x), channels)
        return self.blocks(x)


class SlimConvNeXt(SlimBackbone):
    """``backbone(x, width)``: [B, 3, H, W] -> [B, c(w)] pooled and normalised features.

    It has no batch norm, so it needs no statistics and no calibration.

    name: of ``SIZES``. patch_size: kernel and stride of the stem; 4 gives strides 4 to 32, 1 or 2 suit small images.
    """

    def __init__(self, name: str, patch_size: int = PATCH, input_channels: int = 3):
        super().__init__(input_channels)
        self.name, self.patch_size, self.sizes = name, patch_size, SIZES[name]
        first = self.sizes[0]
        embed = SlimConv2d(input_channels, first, patch_size, patch_size, padding=0, bias=True)
        self.stem = nn.ModuleList([embed, SlimLayerNorm2d(first)])
        before = (None, *self.sizes[:-1])
        self.stages = nn.ModuleList(SlimStage(*sizes) for sizes in zip(before, self.sizes, DEPTHS, strict=True))
        self.head = nn.ModuleDict({"norm": SlimLayerNorm2d(self.sizes[-1])})
        initialise(self)

    @property
    def arguments(self) -> dict:
        return {"name": self.name, "patch_size": self.patch_size, **self.input_arguments}

    @property
    def stage_channels(self) -> tuple[int, ...]:
        return self.sizes

    def channels(self, width: float) -> ConvNeXtChannels:
        """Each stage rounds by itself."""
        if isinstance(width, Plan):
            return ConvNeXtChannels(width.stages)
        return ConvNeXtChannels(tuple(round_channels(size, width) for size in self.sizes))

    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        return WidthSpace.of(self.channels, set(self.sizes), low, high)

    def num_features(self, width: float) -> int:
        return self.channels(width).stages[-1]

    def forward(self, x: Tensor, width: float | ConvNeXtChannels, statistics: Statistics | None = None) -> Tensor:
        """statistics: taken as by every backbone and not needed. Errors: UserError for images that vanish."""
        channels = self.planned(x, width)
        if min(x.shape[2:]) < (least := self.patch_size * 8):
            raise UserError(f"images of {x.shape[2]} x {x.shape[3]} px; {self.name} takes at least {least} px")
        embed, norm = self.stem
        x = norm(embed(x, channels.stages[0]))
        for stage, size in zip(self.stages, channels.stages, strict=True):
            x = stage(x, size)
        return torch.flatten(self.head["norm"](F.adaptive_avg_pool2d(x, 1)), 1)

    def plain(self, channels: ConvNeXtChannels, num_classes: int = 0) -> PlainConvNeXt:
        return PlainConvNeXt(channels, self.patch_size, num_classes, self.name, self.input_channels)

    def groups(self) -> list[ChannelGroup]:
        """The stream of each stage, and what its MLPs expand to."""
        groups, full = [], self.channels(WIDTH_MAX).stages
        writes, reads = [*module_slots("stem.0"), *module_slots("stem.1")], []
        for i, (size, depth) in enumerate(zip(full, DEPTHS, strict=True)):
            if i:
                norm, reduce = f"stages.{i}.downsample.0", f"stages.{i}.downsample.1"
                reads.append(Slot(f"{reduce}.weight", 1))
                groups.append(ChannelGroup(full[i - 1], (*writes, *module_slots(norm)), tuple(reads)))
                writes, reads = [*module_slots(reduce)], []
            for block in (f"stages.{i}.blocks.{n}" for n in range(depth)):
                fc1, fc2 = f"{block}.mlp.fc1", f"{block}.mlp.fc2"
                made = *module_slots(fc1), *module_slots(f"{block}.mlp.grn")
                groups.append(ChannelGroup(MLP_RATIO * size, made, (Slot(f"{fc2}.weight", 1),)))
                writes += [*module_slots(f"{block}.conv_dw"), *module_slots(f"{block}.norm"), *module_slots(fc2)]
                reads.append(Slot(f"{fc1}.weight", 1))
        return [*groups, ChannelGroup(full[-1], (*writes, *module_slots("head.norm")), tuple(reads))]
