"""An ordinary ResNet of arbitrary channels: what ``extract`` gives. torchvision's names, no slimmable layer.

He et al., "Deep residual learning for image recognition" (CVPR 2016), with the stride on the 3x3 convolution.
torchvision's own class can't say a width such as 0.9, where stage outputs are not four times the inner channels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Blocks(NamedTuple):
    """What a ResNet of some depth is made of.

    counts: blocks of each of the four stages. convolutions: of a block, two of 3x3 (basic) or 1x1, 3x3 and 1x1
    (bottleneck). expansion: output channels of a block over its inner ones.
    """

    counts: tuple[int, int, int, int]
    convolutions: int
    expansion: int

    @property
    def basic(self) -> bool:
        """Whether the blocks are the basic ones."""
        return self.convolutions == 2

    def projects(self, stage: int) -> bool:
        """Whether the first block of a stage (0 to 3) has a projection shortcut: not where nothing changes.

        Decided at full width, so that every width has the same modules.
        """
        return stage > 0 or self.expansion > 1


BLOCKS = {
    18: Blocks((2, 2, 2, 2), 2, 1),
    34: Blocks((3, 4, 6, 3), 2, 1),
    50: Blocks((3, 4, 6, 3), 3, 4),
    101: Blocks((3, 4, 23, 3), 3, 4),
}
STEMS = {"imagenet": (7, 2), "cifar": (3, 1), "cifar_half": (3, 2)}  # kernel and stride of the first convolution


@dataclass(frozen=True)
class ResNetChannels:
    """Channels of one sub-network: the stem, the inner convolutions and the output of each of the four stages."""

    stem: int
    inner: tuple[int, int, int, int]
    outer: tuple[int, int, int, int]

    @property
    def key(self) -> str:
        """Names the sub-network in a checkpoint, e.g. ``56-56.232-112.464-232.920-464.1840``."""
        return "-".join([str(self.stem), *(f"{i}.{o}" for i, o in zip(self.inner, self.outer, strict=True))])


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, inner: int, outer: int, stride: int, project: bool):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, inner, stride), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv3x3(inner, outer), nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, outer, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, outer: int, stride: int, project: bool):
        super().__init__()
        self.conv1, self.bn1 = conv1x1(inputs, inner), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv3x3(inner, inner, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv1x1(inner, outer), nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, outer, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(inputs: int, outer: int, stride: int, project: bool) -> nn.Module | None:
    return nn.Sequential(conv1x1(inputs, outer, stride), nn.BatchNorm2d(outer)) if project else None


class PlainResNet(nn.Module):
    """depth: of ``BLOCKS``; stem ``imagenet`` (7x7/2 and max pooling), ``cifar`` (3x3/1) or ``cifar_half`` (3x3/2).

    [B, 3, H, W] -> [B, channels.outer[-1]] pooled features through ``fc = Identity``; set ``num_classes`` for a
    linear classifier. ``stage_maps(x)`` gives the four feature maps that detection uses.
    """

    def __init__(
        self, depth: int, channels: ResNetChannels, stem: str = "imagenet", num_classes: int = 0,
        input_channels: int = 3,
    ):  # fmt: skip
        super().__init__()
        self.depth, self.blocks, self.channels, self.stem = depth, BLOCKS[depth], channels, stem
        self.input_channels = input_channels
        kernel, stride = STEMS[stem]
        self.conv1 = nn.Conv2d(input_channels, channels.stem, kernel, stride, padding=kernel // 2, bias=False)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels.stem)
        self.relu = nn.ReLU(inplace=True)
        inputs = channels.stem
        for i in range(4):
            self.add_module(f"layer{i + 1}", self._stage(i, inputs))
            inputs = channels.outer[i]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def name(self) -> str:
        """The backbone's name, e.g. ``resnet18``."""
        return f"resnet{self.depth}"

    def _stage(self, i: int, inputs: int) -> nn.Sequential:
        block = BasicBlock if self.blocks.basic else Bottleneck
        inner, outer, stride = self.channels.inner[i], self.channels.outer[i], 1 if i == 0 else 2
        first = block(inputs, inner, outer, stride, self.blocks.projects(i))
        rest = [block(outer, inner, outer, 1, False) for _ in range(self.blocks.counts[i] - 1)]
        return nn.Sequential(first, *rest)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages, at strides 4, 8, 16, 32 (``imagenet``), half or a quarter of that."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return [first, second, third, self.layer4(third)]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.stage_maps(x)[-1]), 1))
