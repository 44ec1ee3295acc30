"""Universally slimmable self-supervised pretraining (US3L, CVPR 2023)."""

from pretrain.backbones import create_backbone, list_backbones
from pretrain.errors import UncalibratedWidthError, UserError
from pretrain.universal import UniversalNetwork, load_universal
from pretrain.version import __version__

__all__ = [
    "UncalibratedWidthError",
    "UniversalNetwork",
    "UserError",
    "__version__",
    "create_backbone",
    "list_backbones",
    "load_universal",
]
