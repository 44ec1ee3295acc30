"""The teacher's features of a fixed number of views an image, computed once and read from disk ever after.

Views are a pure function of (seed, epoch, index): with K fixed ones, epoch e looks at the images as epoch e mod K did,
and a training of any length costs K passes of the teacher. A file holds the features of ``BLOCK`` images, in float16,
under a key of everything that they depend on: a pass that was interrupted goes on, processes share the work, and
trainings of other students by the same teacher, seed and images share the files.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torchvision
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.devices import sent
from pretrain.common.errors import UserError
from pretrain.common.feature_cache import FeatureCache
from pretrain.data.augmentation.parameters import RANDOM_NUMBERS
from pretrain.data.images.identity import dataset_hash
from pretrain.data.loader import CutViews, view_loader
from pretrain.data.order import Key
from pretrain.run.distributed import World
from pretrain.run.reporting import progress
from pretrain.trainer import Trainer

BLOCK = 8192  # images of a file


class KeptFeatures:
    """``kept(keys)``: int64 [b, 2] of (fixed view, index), on the host -> what the teacher says, [V * b, *shape] on the
    device, view 1 above view 2, in torch's default number format.

    blocks: by (fixed view, block), of each of the V views float16 [rows, product of shape]. shape: of one image.
    """

    def __init__(self, blocks: dict[tuple[int, int], list[np.ndarray]], shape: tuple[int, ...], device: torch.device):
        self.blocks, self.shape, self.device = blocks, shape, device

    def __call__(self, keys: Tensor) -> Tensor:
        rows = [(self.blocks[fixed, index // BLOCK], index % BLOCK) for fixed, index in keys.tolist()]
        views = len(rows[0][0])
        found = np.stack([of_views[view][row] for view in range(views) for of_views, row in rows])
        return sent(torch.from_numpy(found), self.device).to(torch.get_default_dtype()).unflatten(1, self.shape)


def keep_features(trainer: Trainer, images: Dataset, epochs: int, work_dir: Path) -> KeptFeatures:
    """The features of all ``images``: from disk, or by a pass of the teacher for each fixed view.

    epochs: of the training, which needs no more fixed views than that. Every process must call it.
    Errors: UserError for a folder that cannot be written or has no room, and for images that do not say what they are.
    """
    world, teacher = trainer.world, trainer.model.teacher
    folder = Path(teacher.settings.cache or work_dir / "teacher")
    cache = FeatureCache(folder, options="objective.teacher.cache=FOLDER")
    passes = Passes(trainer, images, cache, min(teacher.settings.fixed_views, epochs))
    missing = [place for place in passes.places if passes.load(place) is None]
    if world.is_main and missing:
        _check_space(folder, sum(map(passes.size, missing)))
        print(f"teacher: {passes.fixed} fixed views of {len(images):,} images, features kept in {folder}", flush=True)
    _wait(world)  # nobody writes what another one still looks for
    passes.run(missing[world.rank :: world.size])
    _wait(world)
    found = {place: passes.load(place) for place in passes.places}
    lost = [place for place, features in found.items() if features is None]
    if lost:
        raise UserError(f"the features of a pass are not in {folder}; expected a folder that all processes see")
    blocks = {place: [of.numpy() for of in features] for place, features in found.items()}
    return KeptFeatures(blocks, teacher.shape, world.device)


class Passes:
    """The teacher's looks at the images, cut into blocks. fixed: views an image. places: (fixed view, block) of all."""

    def __init__(self, trainer: Trainer, images: Dataset, cache: FeatureCache, fixed: int):
        self.trainer, self.images, self.cache, self.fixed = trainer, images, cache, fixed
        self.places = [(k, block) for k in range(fixed) for block in range(-(-len(images) // BLOCK))]
        teacher, config = trainer.model.teacher, trainer.config
        self.common = {
            "teacher": teacher.identity, "answers": teacher.answers, "image_size": teacher.image_size,
            "precision": trainer.precision, "images": dataset_hash(images),
            "views": [asdict(augmentation) for augmentation in trainer.augmentations],
            "size": config.data.image_size, "decode": config.data.decode, "seed": config.training.seed,
            "mean": config.data.mean, "std": config.data.std, "random_numbers": RANDOM_NUMBERS,
            "torchvision": torchvision.__version__,
        }  # fmt: skip

    def rows(self, block: int) -> range:
        return range(block * BLOCK, min(len(self.images), (block + 1) * BLOCK))

    def keys(self, place: tuple[int, int]) -> list[dict]:
        """What the features of each view depend on."""
        fixed, block = place
        return [
            {**self.common, "fixed": fixed, "block": block, "rows": len(self.rows(block)), "view": view}
            for view in range(len(self.trainer.augmentations))
        ]

    def shape(self, place: tuple[int, int]) -> tuple[int, int]:
        return len(self.rows(place[1])), prod(self.trainer.model.teacher.shape)

    def size(self, place: tuple[int, int]) -> int:
        """Bytes."""
        return 2 * len(self.trainer.augmentations) * self.shape(place)[0] * self.shape(place)[1]

    def load(self, place: tuple[int, int]) -> list[Tensor] | None:
        """float16 [rows, D] of each view, None where one is missing."""
        found = [self.cache.load(key, self.shape(place)) for key in self.keys(place)]
        return None if any(features is None for features in found) else found

    def run(self, places: list[tuple[int, int]]) -> None:
        """Compute the features of ``places``; each is whole on disk before the next begins."""
        trainer, data, seed = self.trainer, self.trainer.config.data, self.trainer.config.training.seed
        cut = CutViews(self.images, trainer.augmentations, data.image_size, seed, data.decode, data.on_bad)
        with progress(trainer.world) as bar:
            task = bar.add_task("teacher", total=sum(len(self.rows(block)) for _, block in places), left="")
            for place in places:
                with ExitStack() as stack:
                    sinks = [stack.enter_context(self.cache.sink(key, self.shape(place))) for key in self.keys(place)]
                    for loaded in view_loader(cut, list(self._batches(place)), data.workers):
                        taught = trainer.taught(trainer.coloured(loaded))
                        for sink, features in zip(sinks, taught.chunk(len(sinks)), strict=True):
                            sink.append(features.flatten(1))
                        bar.update(task, advance=len(loaded.keys))
                    if any(sink.clipped for sink in sinks):
                        name = trainer.model.teacher.name
                        raise UserError(
                            f"{name} has features beyond float16; expected no objective.teacher.fixed_views"
                        )

    def _batches(self, place: tuple[int, int]) -> Iterator[list[Key]]:
        fixed, rows = place[0], self.rows(place[1])
        count = max(1, self.trainer.config.training.batch_size // self.trainer.world.size)
        for first in range(0, len(rows), count):
            yield [(fixed, index) for index in rows[first : first + count]]


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the teacher's features need {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; "
            "expected fewer objective.teacher.fixed_views, or objective.teacher.cache=FOLDER elsewhere"
        )


def _wait(world: World) -> None:
    if world.size > 1:
        dist.barrier()
