"""The slimmable backbones by name, and those of somebody's own: ``module:attribute`` of an ``Architecture``."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from pretrain.common.errors import UserError, nearest
from pretrain.common.named import named
from pretrain.plain.convnext import SIZES as CONVNEXTS
from pretrain.plain.mobilenetv2 import STEMS as MOBILENET_STEMS
from pretrain.plain.resnet import BLOCKS
from pretrain.plain.resnet import STEMS as RESNET_STEMS
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.convnext import SlimConvNeXt
from pretrain.slimmable.mobilenetv2 import INITS as MOBILENET_INITS
from pretrain.slimmable.mobilenetv2 import SlimMobileNetV2
from pretrain.slimmable.resnet import INITS as RESNET_INITS
from pretrain.slimmable.resnet import SlimResNet
from pretrain.slimmable.vit import SIZES, SLIM, SlimViT


class Architecture(NamedTuple):
    """build: makes the backbone. options: the keywords that it takes. choices: values of those that are names."""

    build: Callable[..., SlimBackbone]
    options: tuple[str, ...]
    choices: dict[str, Iterable[str]]


CNN = ("stem", "base_channels", "init", "input_channels")
RESNET = (*CNN, "private_norms")
VIT = ("image_size", "patch_size", "depth", "slim", "input_channels", "heads")
BACKBONES = {
    **{
        f"resnet{depth}": Architecture(partial(SlimResNet, depth), RESNET, {"stem": RESNET_STEMS, "init": RESNET_INITS})
        for depth in BLOCKS
    },
    "mobilenetv2": Architecture(SlimMobileNetV2, CNN, {"stem": MOBILENET_STEMS, "init": MOBILENET_INITS}),
    **{name: Architecture(partial(SlimViT, name), VIT, {"slim": SLIM}) for name in SIZES},
    **{name: Architecture(partial(SlimConvNeXt, name), ("patch_size", "input_channels"), {}) for name in CONVNEXTS},
}
COUNTS = ("base_channels", "image_size", "patch_size", "depth", "input_channels", "heads")


def list_backbones() -> list[str]:
    """Names that ``create_backbone`` takes."""
    return sorted(BACKBONES)


def backbone_options(name: str) -> tuple[str, ...]:
    """The options of the backbone ``name``; UserError for an unknown name, with the nearest."""
    return named(name, BACKBONES, "backbone").options


def create_backbone(name: str, stem: str | None = None, **options: Any) -> SlimBackbone:
    """A slimmable backbone: ``backbone(x, width)`` gives pooled features [B, backbone.num_features(width)].

    stem (CNNs): ``imagenet``, ``cifar`` or, of ResNets, ``cifar_half``. Other options: see ``SlimResNet``,
    ``SlimMobileNetV2``, ``SlimViT`` and ``SlimConvNeXt``; None is the default of each.
    Errors: UserError for an unknown name, option or value, naming the nearest.

    >>> create_backbone("resnet18").channels(0.25).outer
    (16, 32, 64, 128)
    >>> create_backbone("vit_tiny", image_size=32).num_features(0.25)
    48
    """
    build, known, choices = named(name, BACKBONES, "backbone")
    given = {option: value for option, value in {"stem": stem, **options}.items() if value is not None}
    for option, value in given.items():
        if option not in known:
            raise UserError(f"{name} has no option '{option}'{nearest(option, known)}")
        if option in choices and value not in choices[option]:
            raise UserError(f"unknown {option} '{value}'{nearest(str(value), choices[option])}")
        if option in COUNTS and value < 1:
            raise UserError(f"{option} is {value}; expected a number from 1")
    return build(**given)
