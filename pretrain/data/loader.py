"""Batches of views for any range of iterations, by (seed, epoch, index) alone."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pretrain.data.augment import colour, crop, crop_each
from pretrain.data.batched import augmented_views
from pretrain.data.datasets import TensorImages
from pretrain.data.parameters import draw_parameters
from pretrain.data.views import Views, normalise
from pretrain.errors import UserError
from pretrain.randomness import generator

Key = tuple[int, int]


class LoadedBatch(NamedTuple):
    """images: uint8 [b, V, 3, S, S], V views cut out, resized and mirrored, colours untouched. labels: [b].

    keys: int64 [b, 2], (epoch, index) of each sample, which decide its colours later, on the training device.
    """

    images: Tensor
    labels: Tensor
    keys: Tensor


class AugmentedViews(Dataset):
    """Lists of (epoch, index) -> ``LoadedBatch``; ``colours`` finishes it.

    views: the augmentation of each view.
    """

    def __init__(self, source: Dataset, views: list[Views], image_size: int, seed: int):
        self.source, self.views, self.image_size, self.seed = source, views, image_size, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> LoadedBatch:
        return LoadedBatch(*(part[0] for part in self.__getitems__([key])))

    def __getitems__(self, keys: list[Key]) -> LoadedBatch:
        rows, indices = torch.tensor(keys), [index for _, index in keys]
        if isinstance(self.source, TensorImages):
            sources, labels = self.source.images[indices], self.source.labels[indices]
        else:
            sources, labels = zip(*(self.source[index] for index in indices))
            labels = torch.tensor(labels)
        sizes = np.array([image.shape[1:] for image in sources])
        views = []
        for v, view in enumerate(self.views):
            parameters = draw_parameters(view, view_keys(rows, self.seed, v), sizes)
            cut = crop if isinstance(sources, Tensor) else crop_each
            views.append(cut(sources, parameters, self.image_size, view.interpolation))
        return LoadedBatch(torch.stack(views, dim=1), labels, rows)


def view_keys(rows: Tensor, seed: int, view: int) -> np.ndarray:
    """int64 [b, 4] of (seed, epoch, index, view): what every random number of a view is a function of."""
    rows = rows.cpu().numpy()
    return np.column_stack([np.full(len(rows), seed), rows, np.full(len(rows), view)])


def coloured_views(batch: LoadedBatch, views: list[Views], seed: int) -> list[Tensor]:
    """The finished views of a batch, float [b, 3, S, S] in [0, 1], computed where its images are."""
    sizes = np.ones((len(batch.keys), 2))  # geometry is done
    return [
        colour(batch.images[:, v], draw_parameters(view, view_keys(batch.keys, seed, v), sizes), view)
        for v, view in enumerate(views)
    ]


class IterationBatches(Sampler[list[Key]]):
    """The samples of iterations ``start`` to ``stop`` for one process.

    An epoch is a permutation of the data drawn from (seed, epoch), cut into batches without the incomplete last one.
    Process r of W takes the r-th of W equal parts of each batch, so W processes see what one with ``chunks = W`` sees.
    The stream never restarts, so a resumed run just begins at another ``start``.
    """

    def __init__(self, samples: int, batch_size: int, seed: int, start: int, stop: int, rank: int = 0, size: int = 1):
        if samples < batch_size:
            raise UserError(
                f"a batch of {batch_size} images from a data set of {samples}; expected a smaller batch_size"
            )
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.start, self.stop, self.rank, self.size = start, stop, rank, size

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch, part = self.samples // self.batch_size, self.batch_size // self.size
        current, order = -1, None
        for iteration in range(self.start, self.stop):
            epoch, step = divmod(iteration, per_epoch)
            if epoch != current:
                current = epoch
                order = generator("order", self.seed, epoch).permutation(self.samples)
            first = step * self.batch_size + self.rank * part
            yield [(epoch, int(i)) for i in order[first : first + part]]


def view_loader(views: AugmentedViews, batches: IterationBatches, workers: int) -> DataLoader:
    """Yields a ``LoadedBatch`` an iteration."""
    return DataLoader(
        views,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
        worker_init_fn=_one_thread,
    )


def _as_it_is(batch: LoadedBatch) -> LoadedBatch:
    return batch


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


class CalibrationBatches:
    """Normalised training images [B, 3, S, S] of linear evaluation for ``calibrate``; every pass gives the same.

    views: linear evaluation's training views (docs/method.md, section 5). count: number of batches, at most one epoch.
    Processes take turns: rank r of W reads batches r, r + W, … With fewer batches than processes each reads all of
    them, which leaves pooled moments as they are.
    """

    def __init__(
        self, source: Dataset, views: Views, image_size: int, batch_size: int, count: int, seed: int,
        mean: list[float], std: list[float], rank: int = 0, size: int = 1,
    ):  # fmt: skip
        self.source, self.views, self.image_size, self.seed = source, views, image_size, seed
        self.batch_size = min(batch_size, len(source))
        self.count = min(count, len(source) // self.batch_size)
        self.mean, self.std = mean, std
        self.rank, self.size = (rank, size) if self.count >= size else (0, 1)

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.size))

    def __iter__(self) -> Iterator[Tensor]:
        order = generator("calibration", self.seed).permutation(len(self.source))
        for batch in range(self.rank, self.count, self.size):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = [self.source[int(i)][0] for i in chosen]
            keys = np.column_stack([np.full(len(chosen), self.seed), chosen])
            yield normalise(augmented_views(images, keys, self.views, self.image_size), self.mean, self.std)
