"""Which samples an iteration sees: a function of (seed, iteration), dealt out to processes."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator

Key = tuple[int, int]  # epoch, index of the image


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of an epoch, int64 [samples]."""
    return generator("order", seed, epoch).permutation(samples)


class IterationBatches(Sampler[list[Key]]):
    """The samples of iterations ``start`` to ``stop`` for one process.

    An epoch is a permutation of the data drawn from (seed, epoch), cut into batches without the incomplete last one.
    Process r of W takes the r-th of W equal parts of each batch, so W processes see what one with ``chunks = W`` sees.
    The stream never restarts, so a resumed run just begins at another ``start``.

    fixed: views of each image; the keys of epoch e are then those of epoch e mod ``fixed``, in an order of its own.
    """

    def __init__(
        self, samples: int, batch_size: int, seed: int, start: int, stop: int, rank: int = 0, size: int = 1,
        fixed: int | None = None,
    ):  # fmt: skip
        if samples < batch_size:
            raise UserError(
                f"a batch of {batch_size} images from a data set of {samples}; expected a smaller batch_size"
            )
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.start, self.stop, self.rank, self.size, self.fixed = start, stop, rank, size, fixed

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch, part = self.samples // self.batch_size, self.batch_size // self.size
        current, order = -1, None
        for iteration in range(self.start, self.stop):
            epoch, step = divmod(iteration, per_epoch)
            if epoch != current:
                current = epoch
                order = epoch_order(self.samples, self.seed, epoch)
            first = step * self.batch_size + self.rank * part
            look = epoch % self.fixed if self.fixed else epoch
            yield [(look, int(i)) for i in order[first : first + part]]
