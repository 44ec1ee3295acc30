"""Universally slimmable self-supervised pretraining (US3L, CVPR 2023)."""

from importlib import import_module
from typing import TYPE_CHECKING

from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.common.version import __version__

if TYPE_CHECKING:
    from pretrain.backbones import create_backbone, list_backbones
    from pretrain.universal import UniversalNetwork, from_pretrained, load_universal

__all__ = [
    "UncalibratedWidthError",
    "UniversalNetwork",
    "UserError",
    "__version__",
    "create_backbone",
    "from_pretrained",
    "list_backbones",
    "load_universal",
]
# Imported when they are asked for: torch takes seconds, which a command line that only looks at jobs need not wait.
HOMES = {
    "UniversalNetwork": "pretrain.universal",
    "create_backbone": "pretrain.backbones",
    "from_pretrained": "pretrain.universal",
    "list_backbones": "pretrain.backbones",
    "load_universal": "pretrain.universal",
}


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"module 'pretrain' has no attribute '{name}'")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
