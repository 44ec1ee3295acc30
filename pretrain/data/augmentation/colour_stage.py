"""The end of the augmentation on a CPU: colours and normalisation of what the loader has cut out."""

import math

import torch
from torch import Tensor

from pretrain.common.devices import constant
from pretrain.data.augmentation.colour import colour
from pretrain.data.augmentation.parameters import ViewParameters
from pretrain.data.augmentation.settings import Augmentation

CACHED = 1 << 19  # numbers of a slice on a CPU, 2 MB: 170 images of 32 px
WORTHWHILE = 4  # samples; fewer are faster one by one, where nobody has to be picked out for a step


def colour_stage(
    images: Tensor, parameters: ViewParameters, augmentation: Augmentation, mean: list[float], std: list[float]
) -> Tensor:
    """uint8 [N, 3, S, S] -> coloured and normalised float [N, 3, S, S], channels_last.

    A CPU takes a few samples through all steps before it turns to the next ones: the dozens of passes over a whole
    batch would wait for main memory. What a sample becomes does not depend on the slices. GPUs: together.py.
    """
    result = torch.empty(
        images.shape, dtype=torch.get_default_dtype(), device=images.device, memory_format=torch.channels_last
    )
    few = slice_length(images)
    for first in range(0, len(images), few):
        rows = slice(first, first + few)
        result[rows] = normalise(colour(images[rows], parameters[rows], augmentation), mean, std)
    return result


def slice_length(images: Tensor) -> int:
    """How many samples take the steps together."""
    few = CACHED // math.prod(images.shape[1:])
    return few if few >= WORTHWHILE else 1


def normalise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """RGB [B, 3, H, W], uint8 or float in [0, 1] -> (x - mean) / std, in torch's default number format."""
    dtype = torch.get_default_dtype()
    shape = (1, len(mean), 1, 1)
    offset, scale = (constant(tuple(values), images.device, dtype).view(shape) for values in (mean, std))
    x = images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)
    return (x - offset) / scale
