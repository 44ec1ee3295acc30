"""torchvision: a state dict with the names of ``torchvision.models.resnet18``, ``resnet50`` and ``mobilenet_v2``.

There is no classifier (``fc``, ``classifier``) in it. At width 1 it loads into torchvision's own class
(``load_state_dict(state, strict=False)`` misses the classifier alone). A narrower ResNet has the same names with fewer
channels; a narrower MobileNetV2 is torchvision's ``mobilenet_v2(width_mult=w)``.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.errors import UserError
from pretrain.plain.mobilenetv2 import PlainMobileNetV2
from pretrain.plain.resnet import PlainResNet
from transfer.convert.files import replacing


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.pth``; loads with ``torch.load(path, weights_only=True)``.

    Errors: UserError for a backbone that is not torchvision's, or that its class would silently compute differently.
    """
    check_sayable(plain)
    path = output / f"{plain.name}.pth"
    with replacing(path) as partial:
        torch.save(plain.state_dict(), partial)
    return [path]


def check_sayable(plain: nn.Module) -> None:
    """UserError unless torchvision's class of these names computes what ``plain`` does, or refuses to load it."""
    if isinstance(plain, PlainResNet):
        return
    if not isinstance(plain, PlainMobileNetV2):
        raise UserError(f"torchvision's names cannot say {plain.name}; expected resnet18, resnet50 or mobilenetv2")
    if plain.stem != "imagenet":
        raise UserError(
            f"torchvision's mobilenet_v2 has other strides than a {plain.stem} stem; expected a backbone that was "
            "pretrained with stem = 'imagenet', or safetensors"
        )
    if plain.channels.stem == plain.channels.outer[0]:
        raise UserError(
            f"torchvision's mobilenet_v2 has a shortcut where stem and first block both have {plain.channels.stem} "
            "channels, which this backbone has not; expected a width from 0.28, or safetensors"
        )
