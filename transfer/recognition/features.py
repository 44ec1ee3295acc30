"""Frozen features of several widths: one pass over the images serves all of them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pretrain.data.views import normalise
from pretrain.errors import UncalibratedWidthError
from transfer.source import Source


def extract_widths(source: Source, widths: list[float], device: str) -> dict[float, nn.Module]:
    """Plain backbones in eval mode. UncalibratedWidthError names the calibrated widths and the way out."""
    try:
        return {width: source.net.extract(width).to(device).eval() for width in widths}
    except UncalibratedWidthError as error:
        raise UncalibratedWidthError(f"{error}; --calibrate estimates others on the training images") from None


@torch.no_grad()
def extract_features(
    modules: dict[float, nn.Module],
    loader: Iterable[tuple[Tensor, Tensor]],
    mean: list[float],
    std: list[float],
    device: str,
) -> tuple[dict[float, Tensor], Tensor]:
    """(features [N, C(w)] by width, labels [N]) of the uint8 batches of ``loader``, on ``device``."""  # fmt: skip
    found: dict[float, list[Tensor]] = {width: [] for width in modules}
    labels = []
    for images, target in loader:
        x = normalise(images.to(device), mean, std)
        for width, module in modules.items():
            found[width].append(module(x))
        labels.append(target)
    return {width: torch.cat(parts) for width, parts in found.items()}, torch.cat(labels).to(device)
