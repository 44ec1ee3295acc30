"""The stream of training images: a function of the seed and the iteration, so that a resumed training continues it.

The order is the one of detectron2's TrainingSampler and mmengine's InfiniteSampler: shuffled passes over the data,
shared among the processes. Batches are all landscape or all portrait, as in both. There the images of unfinished groups
are lost on resume. Here groups are formed of indices before anything is read, so that the batches before an iteration
can be replayed: a second for the 1.4 million images of a COCO schedule. Augmentations are drawn from a generator that
an image's place in the stream seeds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

Place = tuple[int, int]  # an image's index in the data, and its number in the stream of all processes


def shuffled(images: int, seed: int) -> Iterator[int]:
    """Endless passes over the indices of ``images``, each in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(images, generator=generator).tolist()


class BatchStream(Sampler[list[Place]]):
    """This process's endless batches from iteration ``start`` on.

    landscape: of each image, whether it is wider than high; None for batches in the stream's own order.
    """

    def __init__(self, images: int, batch: int, seed: int, start: int = 0, landscape: list[bool] | None = None):
        self.images, self.seed = images, seed
        self.batch, self.start, self.landscape = batch, start, landscape
        alone = not dist.is_initialized()
        self.rank, self.world = (0, 1) if alone else (dist.get_rank(), dist.get_world_size())

    def __len__(self) -> int:
        """Batches of one pass over the data, for programs that ask; the stream goes on."""
        return max(1, self.images // (self.batch * self.world))

    def __iter__(self) -> Iterator[list[Place]]:
        groups: dict[bool, list[Place]] = {False: [], True: []}
        done = 0
        for i, index in enumerate(islice(shuffled(self.images, self.seed), self.rank, None, self.world)):
            group = groups[self.landscape[index] if self.landscape else False]
            group.append((index, self.rank + i * self.world))
            if len(group) == self.batch:
                if done >= self.start:
                    yield group.copy()
                done += 1
                group.clear()


@contextmanager
def numpy_seed(*numbers: int) -> Iterator[None]:
    """Seed numpy's global generator, which augmentations use, for the length of the block."""
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(numbers).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(state)


def iteration_seed(seed: int, iteration: int, rank: int) -> int:
    """For torch's generator before an iteration, so that the anchors and regions drawn are a function of its number."""
    return int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0] >> 1)
