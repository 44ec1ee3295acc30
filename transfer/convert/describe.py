"""What goes along with converted weights: which sub-network they are, and how its images are normalised."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain import UniversalNetwork

FORMAT = 1
OWN = ("width", "checkpoint", "folded_bn", "export_size")  # what a conversion adds to a checkpoint's metadata


def of_width(net: "UniversalNetwork", width: float) -> dict:
    """The metadata of ``net`` with the width that is cut out and the hash of the weights that it is cut from."""
    return {**net.metadata, "width": width, "checkpoint": net.hash}


def backbone_name(metadata: dict) -> str:
    """``resnet18``: also the name of the written files."""
    return metadata["backbone"]["name"]


def description(plain: nn.Module, metadata: dict) -> dict:
    """The record that is written beside, or into, every converted file.

    width, channels and checkpoint (sha256 of the universal network's weights) say where the weights are from; mean and
    std normalise images in [0, 1] of ``channel_order``; pretraining is the checkpoint's own metadata.
    """
    pretraining = {key: value for key, value in metadata.items() if key not in OWN}
    channels = getattr(plain, "channels", None)
    return {
        "format": FORMAT,
        "backbone": backbone_name(metadata),
        "width": metadata.get("width"),
        "channels": getattr(channels, "key", None),
        "params": sum(parameter.numel() for parameter in plain.parameters()),
        "image_size": image_size(metadata),
        "mean": list(metadata["mean"]),
        "std": list(metadata["std"]),
        "channel_order": metadata.get("channel_order", "RGB"),
        "folded_bn": metadata.get("folded_bn", False),
        "checkpoint": metadata.get("checkpoint"),
        "pretraining": pretraining,
    }


def image_size(metadata: dict) -> int:
    """The images' side in pixels: the one asked for, else that of pretraining."""
    return metadata.get("export_size") or metadata["data"]["image_size"]


def as_json(record: dict, indent: int | None = None) -> str:
    """Sorted, so that the same conversion gives the same bytes."""
    return json.dumps(record, sort_keys=True, indent=indent)


def write_json(record: dict, path: Path) -> None:
    path.write_text(as_json(record, indent=2) + "\n")


def require_formats(target: str, *modules: str) -> None:
    """UserError unless the optional packages of a target are installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(f"{target} needs {', '.join(missing)}; expected the extra 'formats': pip install '.[formats]'")
