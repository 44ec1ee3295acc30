"""The end of the augmentation, on the training device: colours and normalisation of what the loader has cut out."""

import torch
from torch import Tensor

from pretrain.data.augment import colour
from pretrain.data.parameters import ViewParameters
from pretrain.data.views import Views, normalise

CACHED = 1 << 18  # numbers of a slice on a CPU, 1 MB: a photograph of 224 px, or 85 images of 32 px


def finished(images: Tensor, parameters: ViewParameters, views: Views, mean: list[float], std: list[float]) -> Tensor:
    """uint8 [N, 3, S, S] -> coloured and normalised float [N, 3, S, S], channels_last.

    A CPU takes a few samples through all steps before it turns to the next ones: the dozens of passes over a whole
    batch would wait for main memory. A GPU takes all at once. What a sample becomes does not depend on the slices.
    """
    result = torch.empty(
        images.shape, dtype=torch.get_default_dtype(), device=images.device, memory_format=torch.channels_last
    )
    few = max(1, CACHED // images[:1].numel()) if images.device.type == "cpu" else len(images)
    for first in range(0, len(images), few):
        rows = slice(first, first + few)
        result[rows] = normalise(colour(images[rows], parameters[rows], views), mean, std)
    return result
