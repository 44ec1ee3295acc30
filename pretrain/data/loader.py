"""Batches of views by (seed, epoch, index) alone: loader workers do the geometry, the training device the colours."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pretrain.common.devices import sent
from pretrain.common.errors import BadImageError
from pretrain.data.augmentation.colour_stage import colour_stage
from pretrain.data.augmentation.geometry import crop, crop_one
from pretrain.data.augmentation.parameters import ViewParameters, draw_parameters
from pretrain.data.augmentation.reduction import reduction, scaled
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.augmentation.together import colours_together
from pretrain.data.images.datasets import TensorImages
from pretrain.data.images.encoded import DecodedImage, EncodedImage
from pretrain.data.order import IterationBatches, Key, epoch_order
from pretrain.data.replacement import first_readable, following


class LoadedBatch(NamedTuple):
    """images: uint8 [b, V, 3, S, S], V views cut out, resized and mirrored, colours untouched. labels: [b].

    keys: int64 [b, 2], (epoch, index) of each sample, which decide its colours later, on the training device.
    bad: int64 [k], indices of images that could not be read, in whose place others stand.
    """

    images: Tensor
    labels: Tensor
    keys: Tensor
    bad: Tensor = torch.empty(0, dtype=torch.int64)

    def to(self, device: torch.device) -> "LoadedBatch":
        """On ``device``, but for the keys: random numbers are drawn on the host."""
        return LoadedBatch(sent(self.images, device), sent(self.labels, device), self.keys)


class CutViews(Dataset):
    """Lists of (epoch, index) -> ``LoadedBatch``; ``coloured_views`` does the rest.

    augmentations: of each view. decode: ``full``, or ``reduced`` where an image's views need no more.
    on_bad: ``stop`` at an image that cannot be read (BadImageError), or ``replace`` it by the next one of the epoch
    that can be, with the random numbers of the one that it replaces.
    """

    def __init__(
        self, dataset: Dataset, augmentations: list[Augmentation], image_size: int, seed: int, decode: str = "full",
        on_bad: str = "stop",
    ):  # fmt: skip
        self.dataset, self.augmentations, self.image_size, self.seed = dataset, augmentations, image_size, seed
        self.decode, self.on_bad = decode, on_bad

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> LoadedBatch:
        images, labels, keys, bad = self.__getitems__([key])
        return LoadedBatch(images[0], labels[0], keys[0], bad)

    def __getitems__(self, keys: list[Key]) -> LoadedBatch:
        rows, indices = torch.tensor(keys), [index for _, index in keys]
        if isinstance(self.dataset, TensorImages):
            images = self.dataset.images[indices]
            cut = (
                crop(images, parameters, self.image_size, augmentation.interpolation)
                for augmentation, parameters in zip(
                    self.augmentations, self.draw(rows, [images.shape[2:]] * len(images))
                )
            )
            return LoadedBatch(torch.stack(list(cut), dim=1), self.dataset.labels[indices], rows)
        bad: list[int] = []
        cut, taken = zip(*((self.cut(pixels, drawn), index) for index, pixels, drawn in self.decoded(rows, bad)))
        return LoadedBatch(
            torch.stack(cut), self.dataset.labels[list(taken)], rows, torch.tensor(bad, dtype=torch.int64)
        )

    def draw(self, rows: Tensor, sizes: list[tuple[int, int]]) -> list[ViewParameters]:
        """Parameters of each view, for images of these sizes (height, width)."""
        return [
            draw_parameters(augmentation, view_keys(rows, self.seed, view), np.array(sizes))
            for view, augmentation in enumerate(self.augmentations)
        ]

    def decoded(self, rows: Tensor, bad: list[int]) -> Iterator[tuple[int, Tensor, list[ViewParameters]]]:
        """One image after the other: its index, uint8 [C, H, W], and the parameters of its views, a row each.

        bad: gets the indices of those that were replaced.
        """
        opened = [self._opened(index) for index in rows[:, 1].tolist()]
        drawn = self.draw(rows, [(1, 1) if image is None else image.size for image in opened])
        for n, image in enumerate(opened):
            epoch, index = rows[n].tolist()
            try:
                if image is not None:
                    yield index, *self._decoded(image, [of_view[n : n + 1] for of_view in drawn])
                    continue
            except BadImageError:
                if self.on_bad == "stop":
                    raise
            order = epoch_order(len(self.dataset), self.seed, epoch)
            others = following(order, int(np.flatnonzero(order == index)[0]))
            taken, found = first_readable(lambda other, row=rows[n : n + 1]: self.read(other, row), others, bad)
            yield taken, *found

    def _opened(self, index: int) -> EncodedImage | DecodedImage | None:
        """The image; None where it cannot be read and is to be replaced."""
        try:
            return self.dataset.open(index)
        except BadImageError:
            if self.on_bad == "stop":
                raise
            return None

    def read(self, index: int, row: Tensor) -> tuple[Tensor, list[ViewParameters]]:
        """An image by the random numbers of a row."""
        image = self.dataset.open(index)
        return self._decoded(image, self.draw(row, [image.size]))

    def _decoded(
        self, image: EncodedImage | DecodedImage, drawn: list[ViewParameters]
    ) -> tuple[Tensor, list[ViewParameters]]:
        if self.decode == "full":
            return image.decode(), drawn
        boxes = np.concatenate([of_view.box for of_view in drawn])
        pixels = image.decode(reduction(boxes, self.image_size))
        boxes = scaled(boxes, image.size, pixels.shape[1:])
        return pixels, [replace(of_view, box=box[None]) for of_view, box in zip(drawn, boxes)]

    def cut(self, image: Tensor, parameters: list[ViewParameters]) -> Tensor:
        """uint8 [V, C, S, S]: an image's views by their parameters."""
        views = zip(self.augmentations, parameters)
        return torch.stack([crop_one(image, drawn, self.image_size, one.interpolation) for one, drawn in views])


def view_keys(rows: Tensor, seed: int, view: int) -> np.ndarray:
    """int64 [b, 4] of (seed, epoch, index, view): what every random number of a view is a function of."""
    rows = rows.numpy()
    return np.column_stack([np.full(len(rows), seed), rows, np.full(len(rows), view)])


def coloured_views(
    batch: LoadedBatch, augmentations: list[Augmentation], seed: int, mean: list[float], std: list[float]
) -> list[Tensor]:
    """The views of a batch as networks take them, float [b, 3, S, S] in channels_last, made where its images are."""
    sizes = np.ones((len(batch.keys), 2))  # geometry is done
    drawn = [draw_parameters(one, view_keys(batch.keys, seed, v), sizes) for v, one in enumerate(augmentations)]
    if batch.images.device.type != "cpu" and batch.images.shape[2] == 3:
        return colours_together(batch.images, drawn, mean, std)
    each = enumerate(zip(drawn, augmentations, strict=True))
    return [colour_stage(batch.images[:, v], parameters, one, mean, std) for v, (parameters, one) in each]


def view_loader(views: CutViews, batches: IterationBatches, workers: int) -> DataLoader:
    """Yields a ``LoadedBatch`` an iteration."""
    return DataLoader(
        views,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
        worker_init_fn=_begin_worker,
    )


def _as_it_is(batch: LoadedBatch) -> LoadedBatch:
    return batch


def _begin_worker(_: int) -> None:
    """One thread; Ctrl-C is for the main process, which ends its workers, and may have handlers that are not theirs."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
