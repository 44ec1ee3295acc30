"""Slimmable ResNets. Parameter names are torchvision's, so that extraction is a prefix slice.

He et al. (CVPR 2016), stride on the 3x3 convolution; widths as in US3L (CVPR 2023), section 3.1.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.plain.resnet import BLOCKS, STEMS, PlainResNet, ResNetChannels
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.groups import ChannelGroup, Slot, module_slots
from pretrain.slimmable.norms.statistics import batch_statistics
from pretrain.slimmable.ops import SlimBatchNorm, SlimConv2d, Statistics
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, Plan, WidthSpace, round_channels

Norm = Callable[[int], SlimBatchNorm]
INITS = ("kaiming", "torch")


def in_format_of(weight: Tensor, x: Tensor) -> Tensor:
    """``x`` [B, C, H, W] in the memory format of a stage's weights [O, I, 3, 3], so that its convolutions keep it."""
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


class SlimShortcut(nn.Sequential):
    """1x1 convolution and batch norm; torchvision's ``downsample.0`` and ``downsample.1``."""

    def __init__(self, inputs: int, outer: int, stride: int, norm: Norm):
        super().__init__(SlimConv2d(inputs, outer, 1, stride), norm(outer))

    def forward(self, x: Tensor, outer: int, statistics: Statistics) -> Tensor:
        return self[1](self[0](x, outer), statistics)


class SlimBasicBlock(nn.Module):
    def __init__(self, inputs: int, inner: int, outer: int, stride: int, project: bool, norm: Norm):
        super().__init__()
        self.conv1, self.bn1 = SlimConv2d(inputs, inner, 3, stride), norm(inner)
        self.conv2, self.bn2 = SlimConv2d(inner, outer, 3), norm(outer)
        self.downsample = SlimShortcut(inputs, outer, stride, norm) if project else None

    def forward(self, x: Tensor, inner: int, outer: int, statistics: Statistics) -> Tensor:
        y = torch.relu_(self.bn1(self.conv1(x, inner), statistics))
        y = self.bn2(self.conv2(y, outer), statistics)
        return torch.relu_(y.add_(x if self.downsample is None else self.downsample(x, outer, statistics)))


class SlimBottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, outer: int, stride: int, project: bool, norm: Norm):
        super().__init__()
        self.conv1, self.bn1 = SlimConv2d(inputs, inner, 1), norm(inner)
        self.conv2, self.bn2 = SlimConv2d(inner, inner, 3, stride), norm(inner)
        self.conv3, self.bn3 = SlimConv2d(inner, outer, 1), norm(outer)
        self.downsample = SlimShortcut(inputs, outer, stride, norm) if project else None

    def forward(self, x: Tensor, inner: int, outer: int, statistics: Statistics) -> Tensor:
        y = torch.relu_(self.bn1(self.conv1(x, inner), statistics))
        y = torch.relu_(self.bn2(self.conv2(y, inner), statistics))
        y = self.bn3(self.conv3(y, outer), statistics)
        return torch.relu_(y.add_(x if self.downsample is None else self.downsample(x, outer, statistics)))


class SlimResNet(SlimBackbone):
    """``backbone(x, width)``: [B, 3, H, W] -> [B, c(w)] pooled features, normalised by the batch's own statistics.

    It keeps no statistics, so in eval mode they must be given, as ``UniversalNetwork`` does: UncalibratedWidthError.

    depth: one of ``BLOCKS``. stem: ``imagenet`` (7x7/2, max pooling; strides 4 to 32), ``cifar`` (3x3/1; 1 to 8) or
    ``cifar_half`` (3x3/2; strides 2 to 16, a quarter of the cost). base_channels: channels of the stem at width 1; the
    standard networks have 64. private_norms: widths whose batch norms have affine parameters of their own, as S-Net's;
    no other width runs then. Empty: one set, shared by all widths. init: of the convolutions, ``kaiming`` (normal, by
    fan-out, as torchvision's networks) or ``torch`` (torch's default, as the released program's networks for CIFAR).
    """

    has_maps = True

    def __init__(
        self,
        depth: int,
        stem: str = "imagenet",
        base_channels: int = 64,
        private_norms: tuple[float, ...] = (),
        init: str = INITS[0],
        input_channels: int = 3,
    ):
        super().__init__(input_channels)
        self.depth, self.blocks, self.private_norms = depth, BLOCKS[depth], tuple(private_norms)
        self.stem, self.base_channels, self.init = stem, base_channels, init
        if self.private_norms and round_channels(base_channels, WIDTH_MAX) != base_channels:
            raise UserError(f"private_norms with base_channels {base_channels}; expected a multiple of 8")
        norm = partial(SlimBatchNorm, private=self.private_norms)
        full = self.channels(WIDTH_MAX)
        kernel, stride = STEMS[stem]
        self.conv1, self.bn1 = SlimConv2d(input_channels, full.stem, kernel, stride), norm(full.stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        block = SlimBasicBlock if self.blocks.basic else SlimBottleneck
        inputs = full.stem
        for i, count in enumerate(self.blocks.counts):
            inner, outer, stride = full.inner[i], full.outer[i], 1 if i == 0 else 2
            first = block(inputs, inner, outer, stride, self.blocks.projects(i), norm)
            rest = [block(outer, inner, outer, 1, False, norm) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.ModuleList([first, *rest]))
            inputs = outer
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and init == "kaiming":
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def arguments(self) -> dict:
        arguments = {"name": f"resnet{self.depth}", "stem": self.stem, "base_channels": self.base_channels}
        options = {"private_norms": self.private_norms or None, "init": self.init if self.init != INITS[0] else None}
        return arguments | {key: value for key, value in options.items() if value is not None} | self.input_arguments

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Inside of the blocks; none with private norms, which belong to widths."""
        return () if self.private_norms else tuple(self.base_channels * 2**i for i in range(4))

    def stage_bounds(self, low: float, high: float) -> list[tuple[int, int]]:
        """Bounds within which what a bottleneck ends in, which rounds by itself, is within its own too."""
        times, found = self.blocks.expansion, []
        for full, (fewest, most) in zip(self.stage_channels, super().stage_bounds(low, high)):
            outer = [round_channels(times * full, width) for width in (low, high)]
            found.append((max(fewest, -(-outer[0] // times)), min(most, outer[1] // times)))
        return found

    def channels(self, width: float) -> ResNetChannels:
        """The channels of every layer at ``width``; each layer rounds by itself. A plan's stem is as wide as the blocks
        of its first stage, and bottlenecks end in four times what they have inside."""
        if isinstance(width, Plan):
            outer = tuple(self.blocks.expansion * count for count in width.stages)
            return ResNetChannels(stem=width.stages[0], inner=width.stages, outer=outer)
        inner = [self.base_channels * 2**i for i in range(4)]
        outer = [self.blocks.expansion * c for c in inner]
        return ResNetChannels(
            stem=round_channels(self.base_channels, width),
            inner=tuple(round_channels(c, width) for c in inner),
            outer=tuple(round_channels(c, width) for c in outer),
        )

    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        base = {self.base_channels * 2**i * times for i in range(4) for times in (1, self.blocks.expansion)}
        return WidthSpace.of(self.channels, base, low, high)

    def num_features(self, width: float) -> int:
        return self.channels(width).outer[-1]

    def forward(
        self, x: Tensor, width: float | ResNetChannels, statistics: Statistics | None = None, pooled: bool = True
    ) -> Tensor:
        if statistics is None:
            statistics = batch_statistics(self, width)
        channels = self.planned(x, width)
        x = self.maxpool(torch.relu_(self.bn1(self.conv1(x, channels.stem), statistics)))
        for i, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = in_format_of(stage[0].conv2.weight, x)
            for block in stage:
                x = block(x, channels.inner[i], channels.outer[i], statistics)
        return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1) if pooled else x

    def groups(self) -> list[ChannelGroup]:
        """The stream that residual connections tie together (it begins anew at a projection), and within each block."""
        full, groups, last = self.channels(WIDTH_MAX), [], self.blocks.convolutions
        size, writes, reads = full.stem, [Slot("conv1.weight"), *module_slots("bn1")], []
        for i, count in enumerate(self.blocks.counts):
            for block in (f"layer{i + 1}.{n}" for n in range(count)):
                reads.append(Slot(f"{block}.conv1.weight", 1))
                if block.endswith(".0") and self.blocks.projects(i):
                    reads.append(Slot(f"{block}.downsample.0.weight", 1))
                    groups.append(ChannelGroup(size, tuple(writes), tuple(reads)))
                    size, reads = full.outer[i], []
                    writes = [Slot(f"{block}.downsample.0.weight"), *module_slots(f"{block}.downsample.1")]
                writes += [Slot(f"{block}.conv{last}.weight"), *module_slots(f"{block}.bn{last}")]
                for n in range(1, last):
                    made = Slot(f"{block}.conv{n}.weight"), *module_slots(f"{block}.bn{n}")
                    groups.append(ChannelGroup(full.inner[i], made, (Slot(f"{block}.conv{n + 1}.weight", 1),)))
        return [*groups, ChannelGroup(size, tuple(writes), tuple(reads))]

    def plain(self, channels: ResNetChannels, num_classes: int = 0) -> PlainResNet:
        return PlainResNet(self.depth, channels, self.stem, num_classes, self.input_channels)
