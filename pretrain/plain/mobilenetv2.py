"""An ordinary MobileNetV2 of arbitrary channels: what ``extract`` gives. torchvision's names, no slimmable layer.

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (CVPR 2018). torchvision's own class says the
same network as ``width_mult=w``, but for the widths where the stem and the first block round to equally many channels
(8 at w up to 0.277): there it adds a shortcut that the full width does not have.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

EXPANSION = 6
BLOCKS = (1, 2, 3, 4, 3, 3, 1)
MAPS = (1, 2, 4)  # the stages with the last features of their resolution; the fourth map is the last convolution's


@dataclass(frozen=True)
class MobileNetV2Channels:
    """Channels of one sub-network: the stem, the output of each of the seven stages, the last convolution."""

    stem: int
    outer: tuple[int, int, int, int, int, int, int]
    last: int

    @property
    def key(self) -> str:
        """Names the sub-network in a checkpoint, e.g. ``16-8-16-16-32-48-80-160-1280``."""
        return "-".join(map(str, (self.stem, *self.outer, self.last)))


@dataclass(frozen=True)
class BlockPlan:
    """One inverted residual. hidden: channels of the depthwise convolution; the first block has no expansion."""

    inputs: int
    hidden: int
    outputs: int
    stride: int
    expands: bool
    residual: bool


STEMS = ("imagenet", "cifar")


def strides(stem: str) -> tuple[int, tuple[int, ...]]:
    """Strides of the stem and of each stage. The CIFAR variant keeps the resolution in the stem and the 24-channel
    stage."""
    return (2, (1, 2, 2, 2, 1, 2, 1)) if stem == "imagenet" else (1, (1, 1, 2, 2, 1, 2, 1))


def block_plans(channels: MobileNetV2Channels, stem: str) -> list[BlockPlan]:
    """All blocks in order.

    All but a stage's first have a shortcut: at full width these are the ones whose stride and channels allow it, and
    deciding it there gives every width the same connections.
    """
    inputs, plans = channels.stem, []
    for i, (blocks, outer, stride) in enumerate(zip(BLOCKS, channels.outer, strides(stem)[1], strict=True)):
        for n in range(blocks):
            hidden = inputs * EXPANSION if i else inputs
            plans.append(BlockPlan(inputs, hidden, outer, stride if n == 0 else 1, expands=i > 0, residual=n > 0))
            inputs = outer
    return plans


def timm_names() -> dict[str, str]:
    """From the names of modules with parameters, which are torchvision's, to timm's.

    >>> timm_names()["features.0.1"], timm_names()["features.3.conv.2"], timm_names()["features.18.0"]
    ('bn1', 'blocks.1.1.conv_pwl', 'conv_head')
    """
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1"}
    expands = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
    places = [(stage, n) for stage, count in enumerate(BLOCKS) for n in range(count)]
    for k, (stage, n) in enumerate(places, 1):
        theirs = expands if stage else ("conv_dw", "bn1", "conv_pw", "bn2")
        ours = [f"{i}.{j}" for i in range(len(theirs) // 2 - 1) for j in range(2)]
        ours += [f"{len(theirs) // 2 - 1}", f"{len(theirs) // 2}"]
        names |= {f"features.{k}.conv.{a}": f"blocks.{stage}.{n}.{b}" for a, b in zip(ours, theirs, strict=True)}
    return names | {f"features.{len(places) + 1}.0": "conv_head", f"features.{len(places) + 1}.1": "bn2"}


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, plan: BlockPlan):
        super().__init__()
        self.residual = plan.residual
        expand = [conv_norm(plan.inputs, plan.hidden, 1)] if plan.expands else []
        self.conv = nn.Sequential(
            *expand,
            conv_norm(plan.hidden, plan.hidden, 3, plan.stride, groups=plan.hidden),
            nn.Conv2d(plan.hidden, plan.outputs, 1, bias=False),
            nn.BatchNorm2d(plan.outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class PlainMobileNetV2(nn.Module):
    """stem ``imagenet`` (stride 2) or ``cifar`` (stride 1, as the 24-channel stage).

    [B, 3, H, W] -> [B, channels.last] pooled features through ``classifier = Identity``; set ``num_classes`` for
    torchvision's dropout and linear classifier. ``stage_maps(x)`` gives the four feature maps that detection uses.
    """

    name = "mobilenetv2"

    def __init__(
        self, channels: MobileNetV2Channels, stem: str = "imagenet", num_classes: int = 0, input_channels: int = 3
    ):
        super().__init__()
        self.channels, self.stem, self.input_channels = channels, stem, input_channels
        self.features = nn.Sequential(
            conv_norm(input_channels, channels.stem, 3, strides(stem)[0]),
            *(InvertedResidual(plan) for plan in block_plans(channels, stem)),
            conv_norm(channels.outer[-1], channels.last, 1),
        )
        self.map_indices = [sum(BLOCKS[: i + 1]) for i in MAPS] + [len(self.features) - 1]
        self.classifier = nn.Identity()
        if num_classes:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels.last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16, 32 (``imagenet``) or 1, 2, 4, 8 (``cifar``).

        The outputs of the stages of 24, 32 and 96 channels (at full width), and the last convolution's.
        """
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.map_indices:
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))
