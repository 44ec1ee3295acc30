"""ChannelListResNet for mmdet: a ResNet that is told the channels of each of its layers.

mmdet's own ResNet derives all channels from ``base_channels``, stage by stage twice as many. A network that was cut out
of a wider one rounds each layer's channels by itself, so its stages need not double. This file needs torch, mmengine,
mmcv and mmdet alone: put it where python finds it and name it in a config::

    custom_imports = dict(imports=["channel_list_resnet"])
    model = dict(backbone=dict(type="ChannelListResNet", depth=50, stem_channels=56, inner_channels=(56, 112, 232, 464),
                               stage_channels=(232, 464, 920, 1840)))

He et al., "Deep residual learning for image recognition" (CVPR 2016), with the stride on the 3x3 convolution.
Parameters are named as in torchvision and in mmdet's ResNet.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BASIC = (18, 34)  # depths of two 3x3 convolutions a block


class Residual(nn.Module):
    """Convolutions with norms beside a shortcut: two of 3x3 (``basic``), or 1x1, 3x3 and 1x1."""

    def __init__(self, basic: bool, inputs: int, inner: int, outer: int, stride: int, project: bool, norm_cfg: dict):
        super().__init__()
        layers = (
            ((3, inner, stride), (3, outer, 1)) if basic
            else ((1, inner, 1), (3, inner, stride), (1, outer, 1))
        )  # fmt: skip
        self.depth, channels = len(layers), inputs
        for i, (kernel, outputs, step) in enumerate(layers, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(channels, outputs, kernel, step, padding=kernel // 2, bias=False))
            self.add_module(f"bn{i}", build_norm_layer(norm_cfg, outputs)[1])
            channels = outputs
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outer, 1, stride, bias=False), build_norm_layer(norm_cfg, outer)[1]
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = self.relu(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


@MODELS.register_module(force=True)  # every converted folder has its copy of this file
class ChannelListResNet(BaseModule):
    """[B, 3, H, W] -> the outputs of the stages ``out_indices``, [B, stage_channels[i], H / 4 / 2^i, W / 4 / 2^i].

    Args:
        depth: 18, 34, 50 or 101.
        stem_channels: of the 7x7 convolution.
        inner_channels: for each of the four stages, of all convolutions of a block but the last.
        stage_channels: for each stage, of its output.
        out_indices: the stages, from 0, whose outputs are returned.
        frozen_stages: the stem and so many stages are not trained; -1 trains all.
        norm_cfg: ``BN`` or ``SyncBN``.
        norm_eval: use the norms' stored statistics in training too.
        init_cfg: e.g. ``dict(type="Pretrained", checkpoint=FILE)``; None draws random weights.
    """

    def __init__(
        self,
        depth: int,
        stem_channels: int,
        inner_channels: Sequence[int],
        stage_channels: Sequence[int],
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list | None = None,
    ):
        default = [dict(type="Kaiming", layer="Conv2d"), dict(type="Constant", val=1, layer="_BatchNorm")]
        super().__init__(init_cfg or default)
        if depth not in BLOCKS:
            raise ValueError(f"no ResNet of depth {depth}; expected one of {', '.join(map(str, BLOCKS))}")
        if len(inner_channels) != 4 or len(stage_channels) != 4:
            raise ValueError("expected four inner_channels and four stage_channels, one for each stage")
        norm_cfg = norm_cfg or dict(type="BN")
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.conv1 = nn.Conv2d(3, stem_channels, 7, 2, padding=3, bias=False)
        self.bn1 = build_norm_layer(norm_cfg, stem_channels)[1]
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = stem_channels
        for i, (inner, outer) in enumerate(zip(inner_channels, stage_channels)):
            basic, stride = depth in BASIC, 1 if i == 0 else 2
            blocks = [Residual(basic, inputs, inner, outer, stride, not basic or i > 0, norm_cfg)]
            blocks += [Residual(basic, outer, inner, outer, 1, False, norm_cfg) for _ in range(BLOCKS[depth][i] - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = outer
        self.freeze()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def freeze(self) -> None:
        """No gradient, and eval mode, for the stem and the first ``frozen_stages`` stages."""
        names = ("conv1", "bn1", *(f"layer{i}" for i in range(1, self.frozen_stages + 1)))
        for name in names if self.frozen_stages >= 0 else ():
            getattr(self, name).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "ChannelListResNet":
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
