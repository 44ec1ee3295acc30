"""An ordinary ConvNeXt V2 of arbitrary channels: what ``extract`` gives. timm's names, no slimmable layer.

Woo et al., "ConvNeXt V2: co-designing and scaling ConvNets with masked autoencoders" (CVPR 2023): blocks of a depthwise
7x7 convolution, layer norm and an MLP with global response normalisation; no batch norm, so nothing is calibrated. The
smallest two, Atto and Femto, whose MLPs timm writes as 1x1 convolutions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = (2, 2, 6, 2)
SIZES = {"convnextv2_atto": (40, 80, 160, 320), "convnextv2_femto": (48, 96, 192, 384)}  # channels of the stages
MLP_RATIO = 4
EPS = 1e-6
KERNEL = 7


@dataclass(frozen=True)
class ConvNeXtChannels:
    """Channels of the four stages; an MLP has ``MLP_RATIO`` times those of its stage."""

    stages: tuple[int, int, int, int]

    @property
    def key(self) -> str:
        """Names the sub-network in a checkpoint, e.g. ``40-80-160-320``."""
        return "-".join(map(str, self.stages))


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """The initial weights of a (plain or slimmable) ConvNeXt, in place: truncated normal of 0.02, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def response_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """[B, C, H, W]: every channel by its norm over the map, relative to the mean of all; and the input itself."""
    norms = x.norm(p=2, dim=(2, 3), keepdim=True)
    relative = norms / (norms.mean(dim=1, keepdim=True) + eps)
    return x + torch.addcmul(bias.view(1, -1, 1, 1), weight.view(1, -1, 1, 1), x * relative)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def __init__(self, channels: int):
        super().__init__(channels, EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """``response_norm`` with parameters of its own, which begin as 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return response_norm(x, self.weight, self.bias)


class Mlp(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, MLP_RATIO * channels, 1)
        self.grn = GlobalResponseNorm(MLP_RATIO * channels)
        self.fc2 = nn.Conv2d(MLP_RATIO * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.grn(F.gelu(self.fc1(x))))


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.norm, self.mlp = LayerNorm2d(channels), Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(self.conv_dw(x)))


class Stage(nn.Module):
    """inputs: channels of the stage before, None for the first stage, which keeps the stem's."""

    def __init__(self, inputs: int | None, channels: int, depth: int):
        super().__init__()
        self.downsample = nn.Identity()
        if inputs is not None:
            self.downsample = nn.Sequential(LayerNorm2d(inputs), nn.Conv2d(inputs, channels, 2, 2))
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class LinearHead(nn.Module):
    """Mean over the map, layer norm, and a classifier where ``num_classes`` is not 0."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.norm(F.adaptive_avg_pool2d(x, 1)), 1))


class PlainConvNeXt(nn.Module):
    """[B, 3, H, W] -> [B, channels.stages[-1]] pooled features through ``head.fc = Identity``.

    Set ``num_classes`` for a linear classifier. patch_size: of the stem, 4 for large images.
    """

    def __init__(
        self, channels: ConvNeXtChannels, patch_size: int = 4, num_classes: int = 0, name: str = "convnextv2",
        input_channels: int = 3,
    ):  # fmt: skip
        super().__init__()
        self.name, self.channels, self.patch_size, self.input_channels = name, channels, patch_size, input_channels
        first = channels.stages[0]
        self.stem = nn.Sequential(nn.Conv2d(input_channels, first, patch_size, patch_size), LayerNorm2d(first))
        before = (None, *channels.stages[:-1])
        self.stages = nn.Sequential(*(Stage(*sizes) for sizes in zip(before, channels.stages, DEPTHS, strict=True)))
        self.head = LinearHead(channels.stages[-1], num_classes)
        initialise(self)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages, at strides p, 2 p, 4 p and 8 p for patches of p px."""
        maps, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)))
