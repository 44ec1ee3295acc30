"""Both stages of the views of a list of images in one go, whatever their sizes.

A view depends on its image and its key alone. Small images of one size are cut out together by matrices, larger ones
each by torchvision's kernels. Which it is depends on the image alone, so that a view is the same in whatever batch,
order or process it is made.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pretrain.data.augmentation.colour import colour
from pretrain.data.augmentation.geometry import crop, crop_one
from pretrain.data.augmentation.parameters import draw_parameters
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images.memory import LARGEST_SIDE


def augmented_views(images: Sequence[Tensor], keys: np.ndarray, augmentation: Augmentation, image_size: int) -> Tensor:
    """uint8 [3, h, w] each -> their views, uint8 [N, 3, image_size, image_size].

    keys: int64 [N, K], what the random numbers of a row are a function of; keys of another length share none of them.
    """

    def cut(group: Tensor, rows: list[int]) -> Tensor:
        height, width = group.shape[2:]
        parameters = draw_parameters(augmentation, keys[rows], np.tile((height, width), (len(rows), 1)))
        if max(height, width) <= LARGEST_SIDE:
            return crop(group, parameters, image_size, augmentation.interpolation)
        one = (
            crop_one(image, parameters[n : n + 1], image_size, augmentation.interpolation)
            for n, image in enumerate(group)
        )
        return torch.stack(list(one))

    parameters = draw_parameters(augmentation, keys, np.ones((len(images), 2)))  # colours do not depend on the size
    return colour(by_size(images, cut), parameters, augmentation).mul(255).round_().to(torch.uint8)


def by_size(images: Sequence[Tensor], view: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """``view([n, 3, h, w], their n rows in images)`` of all images of each size, put back into the images' order."""
    groups: dict[torch.Size, list[int]] = {}
    for row, image in enumerate(images):
        groups.setdefault(image.shape, []).append(row)
    seen = torch.cat([view(torch.stack([images[row] for row in rows]), rows) for rows in groups.values()])
    return seen[torch.tensor([row for rows in groups.values() for row in rows]).argsort().to(seen.device)]
