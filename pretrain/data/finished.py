"""The end of the augmentation, on the training device: colours and normalisation of what the loader has cut out."""

import math

import torch
from torch import Tensor

from pretrain.data.augment import colour
from pretrain.data.parameters import ViewParameters
from pretrain.data.views import Views, normalise

CACHED = 1 << 19  # numbers of a slice on a CPU, 2 MB: 170 images of 32 px
WORTHWHILE = 4  # samples; fewer are faster one by one, where nobody has to be picked out for a step


def finished(images: Tensor, parameters: ViewParameters, views: Views, mean: list[float], std: list[float]) -> Tensor:
    """uint8 [N, 3, S, S] -> coloured and normalised float [N, 3, S, S], channels_last.

    A CPU takes a few samples through all steps before it turns to the next ones: the dozens of passes over a whole
    batch would wait for main memory. A GPU takes all at once. What a sample becomes does not depend on the slices.
    """
    result = torch.empty(
        images.shape, dtype=torch.get_default_dtype(), device=images.device, memory_format=torch.channels_last
    )
    few = slice_length(images)
    for first in range(0, len(images), few):
        rows = slice(first, first + few)
        result[rows] = normalise(colour(images[rows], parameters[rows], views), mean, std)
    return result


def slice_length(images: Tensor) -> int:
    """How many samples take the steps together."""
    if images.device.type != "cpu":
        return max(1, len(images))
    few = CACHED // math.prod(images.shape[1:])
    return few if few >= WORTHWHILE else 1
