"""What a universal network takes: images and widths, checked before torch says it in words of its own."""

from collections.abc import Iterable, Iterator
from numbers import Real

import torch
from torch import Tensor

from pretrain.common.errors import UserError
from pretrain.slimmable.calibrate import LayerMoments
from pretrain.slimmable.widths import Plan, check_width


def check_images(images: Tensor, like: Tensor, channels: int = 3) -> None:
    """UserError unless ``images`` are [B, channels, H, W] where the weight ``like`` is, and in its number format."""
    shape = f"[B, {channels}, H, W]"
    if not isinstance(images, Tensor):
        raise UserError(f"expected normalised images {shape}, got {type(images).__name__}")
    if images.dim() != 4 or images.shape[1] != channels:
        raise UserError(f"expected normalised images {shape}, got a tensor of shape {list(images.shape)}")
    if not images.is_floating_point():
        raise UserError(
            f"expected normalised images, got {images.dtype}; scale to [0, 1], subtract mean, divide by std"
        )
    mixed = torch.is_autocast_enabled(images.device.type)
    if images.device != like.device or (images.dtype != like.dtype and not mixed):
        raise UserError(
            f"the images are {images.dtype} on {images.device}, the network is {like.dtype} on {like.device}; "
            "expected both alike (``.to``)"
        )


def width_list(widths: float | Iterable[float], low: float, high: float) -> list[float]:
    """One width or several as a list. UserError for what is neither, or outside [low, high]."""
    given = [widths] if isinstance(widths, Real) else widths
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UserError(f"expected one width or several, e.g. 0.5 or [0.5, 0.3], got {widths!r}")
    found = [check_width(width, low, high) for width in given]
    if not found:
        raise UserError("expected one width or several, got none")
    return [width if isinstance(width, Plan) else float(width) for width in found]


def check_range(moments: LayerMoments) -> None:
    """UserError for statistics that fp16 can't hold, where they would be infinite and all that follows zero."""
    largest = torch.finfo(torch.float16).max
    for name, pair in moments.items():
        if any(t.abs().max() > largest for t in pair):
            raise UserError(f"the statistics of {name} exceed fp16's {largest:g}; expected bfloat16() or float()")


class ImageBatches:
    """The images of ``loader``'s batches on ``like``'s device; ``sizes``: of those that were read."""

    def __init__(self, loader: Iterable, like: Tensor, channels: int = 3):
        if not isinstance(loader, Iterable) or isinstance(loader, str | Tensor):
            raise UserError(f"expected batches of normalised images, e.g. a DataLoader, got {type(loader).__name__}")
        self.loader, self.like, self.channels = loader, like, channels
        self.sizes: list[int] = []

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.loader:
            images = batch[0] if isinstance(batch, list | tuple) and batch else batch
            images = images.to(self.like.device) if isinstance(images, Tensor) else images
            check_images(images, self.like, self.channels)
            self.sizes.append(len(images))
            yield images
