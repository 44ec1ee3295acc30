"""What goes along with converted weights: which sub-network they are, and how its images are normalised."""

import json
from typing import TYPE_CHECKING

from pretrain.slimmable.widths import Plan

BESIDE = "pretraining.json"  # the description's file, where it isn't named after the weights

if TYPE_CHECKING:
    from torch import nn

    from pretrain import UniversalNetwork


def of_width(net: "UniversalNetwork", width: float) -> dict:
    """The metadata of ``net`` with the width that is cut out and the hash of the weights that it is cut from."""
    return {**net.metadata, "width": width, "checkpoint": net.hash}


def description(plain: "nn.Module", metadata: dict) -> dict:
    """The record that is written beside, or into, every converted file: ``metadata`` and what is true of this one.

    width (of a plan by stage its share, beside ``plan``, its name), channels and checkpoint (sha256 of the universal
    network's weights) say where the weights are from, None where ``metadata`` is not ``of_width``; format is that of
    ``convert``; mean and std normalise images in [0, 1] of ``channel_order``.
    """
    width = metadata.get("width")
    return {
        **{key: value for key, value in metadata.items() if key != "export_size"},
        "width": width,
        **({"plan": width.name} if isinstance(width, Plan) else {}),
        "checkpoint": metadata.get("checkpoint"),
        "channels": getattr(getattr(plain, "channels", None), "key", None),
        "params": sum(parameter.numel() for parameter in plain.parameters()),
        "folded_bn": metadata.get("folded_bn", False),
        "image_size": image_size(metadata),
    }


def image_size(metadata: dict) -> int | None:
    """The images' side in pixels: the one asked for, else that of pretraining; None for weights that do not say it."""
    return metadata.get("export_size") or metadata.get("data", {}).get("image_size")


def as_json(record: dict, indent: int | None = None) -> str:
    """Sorted, so that the same conversion gives the same bytes."""
    return json.dumps(record, sort_keys=True, indent=indent)
