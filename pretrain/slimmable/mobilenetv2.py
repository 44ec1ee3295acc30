"""Slimmable MobileNetV2. Parameter names are torchvision's, so that extraction is a prefix slice.

Sandler et al. (CVPR 2018); widths as in US3L (CVPR 2023), section 3.1: what a block expands to is six times its rounded
inputs, and the last convolution keeps its full outputs, so every width has equally many features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.plain.mobilenetv2 import (
    BlockPlan,
    MobileNetV2Channels,
    PlainMobileNetV2,
    block_plans,
    strides,
    timm_names,
)
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.groups import ChannelGroup, Slot, module_slots
from pretrain.slimmable.norms.statistics import batch_statistics
from pretrain.slimmable.ops import SlimBatchNorm, SlimConv2d, SlimDepthwiseConv2d, Statistics
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, Plan, WidthSpace, round_channels

INITS = ("kaiming", "small_projector")
STEM, OUTER, LAST = 32, (16, 24, 32, 64, 96, 160, 320), 1280


class SlimConvNorm(nn.Sequential):
    """Convolution, batch norm and ReLU6; torchvision's ``0`` and ``1``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__(SlimConv2d(inputs, outputs, kernel, stride), SlimBatchNorm(outputs))

    def forward(self, x: Tensor, outputs: int, statistics: Statistics) -> Tensor:
        return F.relu6(self[1](self[0](x, outputs), statistics), inplace=True)


class SlimDepthwiseNorm(nn.Sequential):
    """Depthwise convolution, batch norm and ReLU6."""

    def __init__(self, channels: int, stride: int):
        super().__init__(SlimDepthwiseConv2d(channels, stride), SlimBatchNorm(channels))

    def forward(self, x: Tensor, statistics: Statistics) -> Tensor:
        return F.relu6(self[1](self[0](x), statistics), inplace=True)


class SlimInvertedResidual(nn.Module):
    def __init__(self, plan: BlockPlan):
        super().__init__()
        expand = [SlimConvNorm(plan.inputs, plan.hidden, 1)] if plan.expands else []
        self.conv = nn.ModuleList([
            *expand,
            SlimDepthwiseNorm(plan.hidden, plan.stride),
            SlimConv2d(plan.hidden, plan.outputs, 1),
            SlimBatchNorm(plan.outputs),
        ])  # fmt: skip

    def forward(self, x: Tensor, plan: BlockPlan, statistics: Statistics) -> Tensor:
        *expand, depthwise, project, norm = self.conv
        y = expand[0](x, plan.hidden, statistics) if expand else x
        y = norm(project(depthwise(y, statistics), plan.outputs), statistics)
        return x + y if plan.residual else y


class SlimMobileNetV2(SlimBackbone):
    """``backbone(x, width)``: [B, 3, H, W] -> [B, 1280] pooled features, normalised by the batch's own statistics.

    It keeps no statistics, so in eval mode they must be given, as ``UniversalNetwork`` does: UncalibratedWidthError.

    stem: ``imagenet`` (strides 4 to 32) or ``cifar`` (stem and 24-channel stage of stride 1; strides 1 to 8).
    base_channels: channels of the stem at width 1, everything else in proportion; the standard network has 32.
    init: ``kaiming``, or ``small_projector``, with which the projector's first layer starts as torchvision's classifier
    does, from a normal distribution of standard deviation 0.01 without bias (the released program).
    """

    has_maps = True

    def __init__(
        self, stem: str = "imagenet", base_channels: int = STEM, init: str = INITS[0], input_channels: int = 3
    ):
        super().__init__(input_channels)
        self.stem, self.base_channels, self.init = stem, base_channels, init
        full = self.channels(WIDTH_MAX)
        self.features = nn.ModuleList([
            SlimConvNorm(input_channels, full.stem, 3, strides(stem)[0]),
            *(SlimInvertedResidual(plan) for plan in block_plans(full, stem)),
            SlimConvNorm(full.outer[-1], full.last, 1),
        ])  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    @property
    def arguments(self) -> dict:
        arguments = {"name": "mobilenetv2", "stem": self.stem, "base_channels": self.base_channels}
        return arguments | ({"init": self.init} if self.init != INITS[0] else {}) | self.input_arguments

    def init_projector(self, first: nn.Linear) -> None:
        if self.init == "small_projector":
            nn.init.normal_(first.weight, 0.0, 0.01)
            nn.init.zeros_(first.bias)

    def scaled(self, channels: int) -> int:
        """``channels`` of the standard network in proportion to this one's stem."""
        return max(1, channels * self.base_channels // STEM)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the stem and of the seven stages at width 1."""
        return (self.base_channels, *(self.scaled(c) for c in OUTER))

    def channels(self, width: float) -> MobileNetV2Channels:
        """Each layer rounds by itself; the last convolution keeps its outputs."""
        if isinstance(width, Plan):
            stem, outer = width.stages[0], width.stages[1:]
        else:
            stem, *outer = (round_channels(count, width) for count in self.stage_channels)
        return MobileNetV2Channels(stem, tuple(outer), last=round_channels(self.scaled(LAST), WIDTH_MAX))

    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        return WidthSpace.of(self.channels, set(self.stage_channels), low, high)

    def num_features(self, width: float) -> int:
        return self.channels(width).last

    def forward(
        self, x: Tensor, width: float | MobileNetV2Channels, statistics: Statistics | None = None, pooled: bool = True
    ) -> Tensor:
        if statistics is None:
            statistics = batch_statistics(self, width)
        channels = self.planned(x, width)
        first, *blocks, last = self.features
        x = first(x, channels.stem, statistics)
        for block, plan in zip(blocks, block_plans(channels, self.stem), strict=True):
            x = block(x, plan, statistics)
        x = last(x, channels.last, statistics)
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1) if pooled else x

    def groups(self) -> list[ChannelGroup]:
        """The inputs of each stage, which shortcuts tie together, and what each block expands to; the features, which
        all widths have in full, keep their order."""
        full, groups = self.channels(WIDTH_MAX), []
        size, writes, reads = full.stem, [Slot("features.0.0.weight"), *module_slots("features.0.1")], []
        for n, plan in enumerate(block_plans(full, self.stem), 1):
            conv, first = f"features.{n}.conv", int(plan.expands)
            depthwise = [Slot(f"{conv}.{first}.0.weight"), *module_slots(f"{conv}.{first}.1")]
            project = Slot(f"{conv}.{first + 1}.weight", 1)
            if plan.expands:
                reads.append(Slot(f"{conv}.0.0.weight", 1))
                made = Slot(f"{conv}.0.0.weight"), *module_slots(f"{conv}.0.1"), *depthwise
                groups.append(ChannelGroup(plan.hidden, made, (project,)))
            else:
                writes, reads = [*writes, *depthwise], [project]
            if not plan.residual:
                groups.append(ChannelGroup(size, tuple(writes), tuple(reads)))
                size, writes, reads = plan.outputs, [], []
            writes += [Slot(project.name), *module_slots(f"{conv}.{first + 2}")]
        last = Slot(f"features.{len(self.features) - 1}.0.weight", 1)
        return [*groups, ChannelGroup(size, tuple(writes), (*reads, last))]

    @property
    def layouts(self) -> tuple[dict[str, str], ...]:
        """torchvision's names, and timm's."""
        modules = timm_names()
        parts = ((name, *name.rpartition(".")[::2]) for name, _ in self.named_parameters())
        return {}, {name: f"{modules[module]}.{kind}" for name, module, kind in parts}

    def plain(self, channels: MobileNetV2Channels, num_classes: int = 0) -> PlainMobileNetV2:
        return PlainMobileNetV2(channels, self.stem, num_classes, self.input_channels)
