"""The images that batch-norm statistics are estimated on."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.randomness import generator
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.augmentation.whole import augmented_views
from pretrain.data.replacement import first_readable, following


class CalibrationBatches:
    """Normalised training images [B, 3, S, S] of linear evaluation for ``calibrate``; every pass gives the same.

    augmentation: linear evaluation's training views (docs/method.md, section 5). count: number of
    batches, at most one epoch.
    Processes take turns: rank r of W reads batches r, r + W, … With fewer batches than processes each reads all of
    them, which leaves pooled moments as they are. on_bad: as of ``CutViews``.
    """

    def __init__(
        self, dataset: Dataset, augmentation: Augmentation, image_size: int, batch_size: int, count: int, seed: int,
        mean: list[float], std: list[float], rank: int = 0, size: int = 1, on_bad: str = "stop",
    ):  # fmt: skip
        self.dataset, self.augmentation, self.image_size, self.seed = dataset, augmentation, image_size, seed
        self.batch_size = min(batch_size, len(dataset))
        self.count = min(count, len(dataset) // self.batch_size)
        self.mean, self.std, self.on_bad = mean, std, on_bad
        self.rank, self.size = (rank, size) if self.count >= size else (0, 1)

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.size))

    def __iter__(self) -> Iterator[Tensor]:
        order = generator("calibration", self.seed).permutation(len(self.dataset))
        for batch in range(self.rank, self.count, self.size):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = [self._image(order, batch * self.batch_size + n) for n in range(len(chosen))]
            keys = np.column_stack([np.full(len(chosen), self.seed), chosen])
            yield normalise(augmented_views(images, keys, self.augmentation, self.image_size), self.mean, self.std)

    def _image(self, order: np.ndarray, position: int) -> Tensor:
        if self.on_bad == "stop":
            return self.dataset[int(order[position])][0]
        return first_readable(self.dataset.__getitem__, following(order, position), [])[1][0]
