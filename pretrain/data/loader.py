"""Batches of views for any range of iterations, by (seed, epoch, index) alone."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pretrain.data.views import Views, normalise, seeded
from pretrain.errors import UserError
from pretrain.randomness import generator, torch_seed

Key = tuple[int, int]


class ViewPairs(Dataset):
    """(epoch, index) -> two uint8 views [2, 3, S, S] of a sample."""

    def __init__(self, source: Dataset, views: Views, image_size: int, seed: int):
        self.source, self.seed = source, seed
        self.transform = views.transform(image_size)

    def __getitem__(self, key: Key) -> Tensor:
        epoch, index = key
        image, _ = self.source[index]
        return torch.stack(
            [seeded(self.transform, image, torch_seed("views", self.seed, epoch, index, v)) for v in (0, 1)]
        )


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


def view_loader(pairs: ViewPairs, batches: IterationBatches, workers: int) -> DataLoader:
    """Yields uint8 [b, 2, 3, S, S], one batch an iteration."""
    return DataLoader(
        pairs,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
        worker_init_fn=_one_thread,
    )


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
        self.source, self.transform, self.seed = source, views.transform(image_size), seed
        self.batch_size = min(batch_size, len(source))
        self.count = min(count, len(source) // self.batch_size)
        self.mean, self.std = mean, std
        self.rank, self.size = (rank, size) if self.count >= size else (0, 1)

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.size))

    def __iter__(self) -> Iterator[Tensor]:
        order = generator("calibration", self.seed).permutation(len(self.source)).tolist()
        for batch in range(self.rank, self.count, self.size):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            views = [seeded(self.transform, self.source[i][0], torch_seed("calibration", self.seed, i)) for i in chosen]
            yield normalise(torch.stack(views), self.mean, self.std)
