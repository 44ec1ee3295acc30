"""What the formats of a device's runtime share: the traced network, and the check of the file by the runtime itself."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.plain.cost import image_channels

TOLERANCE = 1e-4  # of the largest feature
BATCHES = (1, 3)  # what a file is run at: a batch dimension that were fixed would fail one of them


def ready(plain: nn.Module, size: int) -> nn.Module:
    """A copy of ``plain`` on the CPU in eval mode; UserError if it can't take images of ``size`` pixels."""
    plain = copy.deepcopy(plain).cpu().eval()
    try:
        with torch.no_grad():
            plain(torch.zeros(1, image_channels(plain), size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{type(plain).__name__} takes no images of {size} pixels: {first}") from error
    return plain


def traced(module: nn.Module, size: int, most: int | None = None, channels: int = 3) -> torch.export.ExportedProgram:
    """``module`` by ``torch.export``, for square images of ``size`` pixels. most: the largest batch; None for any."""
    batch = torch.export.Dim("batch", min=1, max=most)
    with quiet():
        images = torch.zeros(2, channels, size, size)
        return torch.export.export(module, (images,), dynamic_shapes=({0: batch},))


@contextlib.contextmanager
def exporting(plain: nn.Module, runtime: str) -> Iterator[None]:
    """Turn what an exporter raises, such as for an operator that the runtime lacks, into a UserError of one line."""
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{runtime} cannot say {type(plain).__name__}: {first.strip()[:200]}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters tell their steps and what their own parts deprecate; neither is for the user of a converter."""
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "torch.utils._pytree", "nncf")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@torch.no_grad()
def check(plain: nn.Module, run: Callable[[np.ndarray], np.ndarray], size: int, runtime: str) -> float:
    """The largest difference from ``plain`` of what the runtime computes from the file, of images in ``BATCHES``.

    Errors: RuntimeError beyond ``TOLERANCE`` of the largest feature, or for another shape.
    """
    worst = 0.0
    for batch in BATCHES:
        images = torch.randn(batch, image_channels(plain), size, size, generator=torch.Generator().manual_seed(batch))
        expected = plain(images)
        found = torch.from_numpy(run(images.numpy()))
        if found.shape != expected.shape:
            raise RuntimeError(f"{runtime} gives {tuple(found.shape)}, torch {tuple(expected.shape)}; nothing written")
        distance = difference(found, expected)
        if not distance <= TOLERANCE:
            raise RuntimeError(f"{runtime}'s features differ by {distance:.3g} of the largest; nothing was written")
        worst = max(worst, distance)
    return worst


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, in parts of the largest feature: a runtime's rounding grows with what it adds up."""
    return float((found - expected).abs().max() / expected.abs().max())
