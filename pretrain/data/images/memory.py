"""Small images are decoded once and kept as one uint8 tensor; large ones stay files."""

import torch
from torch.utils.data import Dataset

from pretrain.common.errors import BadImageError
from pretrain.data.images.datasets import TensorImages

LARGEST_SIDE = 96  # px; at 224 px a photograph costs more to augment than to decode
LIMIT = 4 << 30  # bytes of all images together


def in_memory(dataset: Dataset, on_bad: str = "stop") -> Dataset:
    """``dataset`` as ``TensorImages`` if its images are small, equal in size and fit in memory, else as it is.

    on_bad: ``stop`` raises BadImageError for an image that cannot be read, ``replace`` leaves it to the loader.
    """
    if isinstance(dataset, TensorImages):
        return dataset
    try:
        return _whole(dataset)
    except BadImageError:
        if on_bad == "stop":
            raise
        return dataset


def _whole(dataset: Dataset) -> Dataset:
    first, _ = dataset[0]
    if max(first.shape) > LARGEST_SIDE or first.numel() * len(dataset) > LIMIT:
        return dataset
    images = torch.empty(len(dataset), *first.shape, dtype=torch.uint8)
    for index in range(len(dataset)):
        image, _ = dataset[index]
        if image.shape != first.shape:
            return dataset
        images[index] = image
    return TensorImages(images, dataset.labels, dataset.classes)
