"""The maps of a plain network's stages as a module of its own, asked for their channels and strides as timm's are."""

import copy

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.shapes import shapes_only
from pretrain.plain.cost import image_channels

# px of a side of the image that strides are read off, of which nothing is computed: so many that it does not matter
# whether a layer rounds up or down
PROBE = 1 << 20


class FeatureInfo:
    """What a list of maps holds, in the words of timm's ``FeatureInfo``."""

    def __init__(self, channels: list[int], reduction: list[int]):
        self._channels, self._reduction = channels, reduction

    def channels(self) -> list[int]:
        """Channels of each map."""
        return list(self._channels)

    def reduction(self) -> list[int]:
        """Stride of each map: so many input pixels to one of its own."""
        return list(self._reduction)

    def __len__(self) -> int:
        return len(self._channels)


class StageMaps(nn.Module):
    """[B, 3, H, W] -> the maps [B, C, H / stride, W / stride] of each stage, shallowest first; see ``feature_info``.

    plain: a network with ``stage_maps(x)``. Errors: UserError for one without (vision transformers have one scale).
    """

    def __init__(self, plain: nn.Module):
        super().__init__()
        if not hasattr(plain, "stage_maps"):
            raise UserError(f"{type(plain).__name__} has no stage maps; features_only needs a convolutional network")
        self.backbone = plain
        shadow = copy.deepcopy(plain).to("meta").eval()
        with torch.no_grad(), shapes_only():
            maps = shadow.stage_maps(torch.empty(1, image_channels(plain), PROBE, PROBE))
        self.feature_info = FeatureInfo([m.shape[1] for m in maps], [round(PROBE / m.shape[2]) for m in maps])

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.backbone.stage_maps(x)
