"""The stream of training images: a function of the seed and the iteration, so that a resumed training continues it.

The order is detectron2's (``TrainingSampler``: shuffled passes over the data, shared among the processes), and so are
the groups (``AspectRatioGroupedDataset``: a batch is all landscape or all portrait). There the images of unfinished
groups are lost on resume. Here groups are formed of indices before anything is read, so that the batches before an
iteration can be replayed: a second for the 1.4 million images of a COCO schedule. Augmentations are drawn from a
generator that an image's place in the stream seeds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.data.common import DatasetFromList
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from pretrain.errors import UserError

Place = tuple[int, int]  # an image's index in the data, and its number in the stream of all processes


class BatchStream(Sampler[list[Place]]):
    """This process's endless batches from iteration ``start`` on.

    landscape: of each image, whether it is wider than high; None for batches in the stream's own order.
    """

    def __init__(self, images: int, batch: int, seed: int, start: int = 0, landscape: list[bool] | None = None):
        self.order = TrainingSampler(images, seed=seed)
        self.batch, self.start, self.landscape = batch, start, landscape
        self.rank, self.world = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[list[Place]]:
        groups: dict[bool, list[Place]] = {False: [], True: []}
        done = 0
        for i, index in enumerate(self.order):
            group = groups[self.landscape[index] if self.landscape else False]
            group.append((index, self.rank + i * self.world))
            if len(group) == self.batch:
                if done >= self.start:
                    yield group.copy()
                done += 1
                group.clear()


class ReadableImages:
    """detectron2's mapper; what it cannot read is refused by the file's name."""

    def __init__(self, mapper):
        self.mapper = mapper

    def __call__(self, record: dict) -> dict:
        try:
            return self.mapper(record)
        except SizeMismatchError:
            size = f"{record['width']} x {record['height']}"
            raise UserError(f"{record['file_name']} is not {size} pixels large, as its annotation says") from None
        except (OSError, SyntaxError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{record['file_name']} cannot be used: {reason}; expected an image that can be read"
            ) from None


class StreamedImages(Dataset):
    """Images by their place in the stream; the place seeds the augmentations."""

    def __init__(self, records: list[dict], mapper, seed: int):
        self.records, self.mapper, self.seed = DatasetFromList(records, copy=False), ReadableImages(mapper), seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place: Place) -> dict:
        index, number = place
        with numpy_seed(self.seed, number):
            return self.mapper(self.records[index])


@contextmanager
def numpy_seed(*numbers: int) -> Iterator[None]:
    """Seed numpy's global generator, which detectron2's augmentations use, for the length of the block."""
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(numbers).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(state)


def training_loader(config, start_iteration: int = 0) -> DataLoader:
    """The recipe's training images in this process's batches from ``start_iteration`` on."""
    recipe = config.dataloader.train
    options = {key: recipe[key] for key in recipe if key not in ("_target_", "dataset", "mapper", "sampler")}
    batch = options.pop("total_batch_size") // comm.get_world_size()
    records, mapper = instantiate(recipe.dataset), instantiate(recipe.mapper)
    landscape = [record["width"] > record["height"] for record in records]
    grouped = options.pop("aspect_ratio_grouping", True)
    stream = BatchStream(len(records), batch, config.train.seed, start_iteration, landscape if grouped else None)
    # A generator of its own, as the loader would draw from torch's, which each iteration seeds.
    return DataLoader(
        StreamedImages(records, mapper, config.train.seed), batch_sampler=stream, collate_fn=list,
        generator=torch.Generator().manual_seed(config.train.seed), **options,
    )  # fmt: skip


def evaluation_loader(config):
    """The recipe's loader of validation images."""
    recipe = config.dataloader.test
    mapper = ReadableImages(instantiate(recipe.mapper))
    return instantiate({**{key: recipe[key] for key in recipe}, "mapper": mapper})
