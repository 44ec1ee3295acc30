"""The slimmable backbones by name."""

from torch import nn

from pretrain.errors import UserError, nearest
from pretrain.plain.resnet import STEMS
from pretrain.slimmable.resnet import SlimResNet

BACKBONES = {
    "resnet18": lambda **options: SlimResNet(18, **options),
    "resnet50": lambda **options: SlimResNet(50, **options),
}


def list_backbones() -> list[str]:
    """Names that ``create_backbone`` takes."""
    return sorted(BACKBONES)


def create_backbone(name: str, stem: str = "imagenet", **options) -> nn.Module:
    """A slimmable backbone: ``backbone(x, width)`` gives [B, c(width)] pooled features.

    stem: ``imagenet``, ``cifar`` or ``cifar_half``. Errors: UserError for an unknown name or stem, naming the nearest.

    >>> create_backbone("resnet18").channels(0.25).outer
    (16, 32, 64, 128)
    """
    if name not in BACKBONES:
        raise UserError(f"unknown backbone '{name}'{nearest(name, BACKBONES)}")
    if stem not in STEMS:
        raise UserError(f"unknown stem '{stem}'{nearest(stem, STEMS)}")
    return BACKBONES[name](stem=stem, **options)
