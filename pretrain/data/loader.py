"""Batches of views for any range of iterations, by (seed, epoch, index) alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator
from pretrain.data.augment import crop, crop_one
from pretrain.data.batched import augmented_views
from pretrain.data.datasets import TensorImages
from pretrain.data.finished import finished
from pretrain.data.parameters import ViewParameters, draw_parameters
from pretrain.data.reduced import reduction, scaled
from pretrain.data.views import Views, normalise

Key = tuple[int, int]


class LoadedBatch(NamedTuple):
    """images: uint8 [b, V, 3, S, S], V views cut out, resized and mirrored, colours untouched. labels: [b].

    keys: int64 [b, 2], (epoch, index) of each sample, which decide its colours later, on the training device.
    """

    images: Tensor
    labels: Tensor
    keys: Tensor


class AugmentedViews(Dataset):
    """Lists of (epoch, index) -> ``LoadedBatch``; ``finished_views`` does the rest.

    views: the augmentation of each view. decode: ``full``, or ``reduced`` where an image's views need no more.
    """

    def __init__(self, source: Dataset, views: list[Views], image_size: int, seed: int, decode: str = "full"):
        self.source, self.views, self.image_size, self.seed = source, views, image_size, seed
        self.decode = decode

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> LoadedBatch:
        return LoadedBatch(*(part[0] for part in self.__getitems__([key])))

    def __getitems__(self, keys: list[Key]) -> LoadedBatch:
        rows, indices = torch.tensor(keys), [index for _, index in keys]
        if isinstance(self.source, TensorImages):
            images = self.source.images[indices]
            cut = (
                crop(images, parameters, self.image_size, view.interpolation)
                for view, parameters in zip(self.views, self.draw(rows, [images.shape[2:]] * len(images)))
            )
            return LoadedBatch(torch.stack(list(cut), dim=1), self.source.labels[indices], rows)
        decoded = self.decoded(rows)
        return LoadedBatch(torch.stack([self._cut(*one) for one in decoded]), self.source.labels[indices], rows)

    def draw(self, rows: Tensor, sizes: list[tuple[int, int]]) -> list[ViewParameters]:
        """Parameters of each view, for images of these sizes (height, width)."""
        return [
            draw_parameters(view, view_keys(rows, self.seed, v), np.array(sizes)) for v, view in enumerate(self.views)
        ]

    def decoded(self, rows: Tensor) -> Iterator[tuple[Tensor, list[ViewParameters]]]:
        """One image after the other, uint8 [3, H, W], with the parameters of its views, a row each."""
        opened = [self.source.open(index) for index in rows[:, 1].tolist()]
        drawn = self.draw(rows, [image.size for image in opened])
        for n, image in enumerate(opened):
            parameters = [of_view[n : n + 1] for of_view in drawn]
            if self.decode == "full":
                yield image.decode(), parameters
                continue
            boxes = np.concatenate([of_view.box for of_view in parameters])
            pixels = image.decode(reduction(boxes, self.image_size))
            boxes = scaled(boxes, image.size, pixels.shape[1:])
            yield pixels, [replace(of_view, box=box[None]) for of_view, box in zip(parameters, boxes)]

    def _cut(self, image: Tensor, parameters: list[ViewParameters]) -> Tensor:
        views = zip(self.views, parameters)
        return torch.stack([crop_one(image, drawn, self.image_size, view.interpolation) for view, drawn in views])


def view_keys(rows: Tensor, seed: int, view: int) -> np.ndarray:
    """int64 [b, 4] of (seed, epoch, index, view): what every random number of a view is a function of."""
    rows = rows.cpu().numpy()
    return np.column_stack([np.full(len(rows), seed), rows, np.full(len(rows), view)])


def finished_views(
    batch: LoadedBatch, views: list[Views], seed: int, mean: list[float], std: list[float]
) -> list[Tensor]:
    """The views of a batch as networks take them, float [b, 3, S, S] in channels_last, made where its images are."""
    sizes = np.ones((len(batch.keys), 2))  # geometry is done
    return [
        finished(batch.images[:, v], draw_parameters(view, view_keys(batch.keys, seed, v), sizes), view, mean, std)
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
