"""The images of an evaluation: decoded once, then seen through the views of linear evaluation.

Views (docs/method.md, section 5, "Linear evaluation"): small images are trained on with RandomResizedCrop(scale
0.8 to 1) and a flip and tested on after a resize by 36/32 and a centre crop; large ones (more than 64 px) with scale
0.08 to 1 and a resize by 256/224. Small images are resized bicubic and large ones bilinear, as the released program
does, unless the settings say otherwise.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pretrain.common.devices import sent
from pretrain.common.errors import UserError
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import (
    INTERPOLATIONS,
    SMALL,
    Augmentation,
    linear_evaluation,
    recorded_augmentation,
    usual_interpolation,
)
from pretrain.data.augmentation.whole import augmented_views, by_size
from pretrain.data.images.datasets import Subset
from pretrain.data.images.identity import dataset_hash

IN_MEMORY = 2**30  # bytes of decoded images that are kept
FEW = 2**25  # bytes of images for which starting worker processes takes longer than they save
Look = Callable[[list[Tensor], list[int]], Tensor]  # images of any sizes and their indices -> uint8 [B, …]


def train_augmentation(dataset: str, image_size: int, metadata: dict, interpolation: str | None = None) -> Augmentation:
    """The augmentation of linear evaluation: the checkpoint's own on the data and size of pretraining, else the usual.

    A checkpoint records the views that it was calibrated with (mirrored digits, for one, are no digits).
    interpolation: instead of theirs.
    """
    found = _train_augmentation(dataset, image_size, metadata)
    return dataclasses.replace(found, interpolation=interpolation or found.interpolation)


def _train_augmentation(dataset: str, image_size: int, metadata: dict) -> Augmentation:
    recorded = metadata["calibration"].get("views")
    pretrained_on = (metadata["data"]["name"], metadata["data"].get("image_size"))
    if recorded and pretrained_on == (dataset, image_size) and dataset != "folder":  # any folder bears that name
        return recorded_augmentation(recorded)
    usual = linear_evaluation(image_size)
    return dataclasses.replace(usual, flip=0.0) if dataset == "digits" else usual


def resized(image_size: int) -> int:
    """Pixels of the shorter side before the centre is cropped."""
    return round(image_size * (36 / 32 if image_size <= SMALL else 256 / 224))


def evaluation_view(image_size: int, interpolation: str) -> v2.Compose:
    """uint8 [3, h, w] -> uint8 [3, image_size, image_size]: resize the shorter side, crop the centre."""
    mode = INTERPOLATIONS[interpolation]
    return v2.Compose([v2.Resize(resized(image_size), mode, antialias=True), v2.CenterCrop(image_size)])


class Images(Dataset):
    """A data set of (uint8 [3, h, w], label) that can be kept in memory once decoded."""

    def __init__(self, dataset: Dataset):
        self.dataset, self.classes = dataset, list(dataset.classes)
        if not len(dataset):
            raise UserError("the data set has no images")
        self._first = dataset[0]
        self.bytes = len(dataset) * self._first[0].numel()  # if all are as large as the first
        self._kept: list[tuple[Tensor, int]] | None = None
        self._whole: Images | None = None

    @cached_property
    def identity(self) -> str:
        """What the images are: ``dataset_hash``, of a subset a digest of the whole's and the indices.

        Found out once, since it asks for the size and time of change of every file.
        """
        if self._whole is None:
            return dataset_hash(self.dataset)
        return hashlib.sha256(f"{self._whole.identity} {self.dataset.indices}".encode()).hexdigest()

    @property
    def labels(self) -> Tensor:
        """int64 [N], known without decoding an image."""
        return self.dataset.labels

    def decode(self, track: Callable[[range], Iterable[int]] = iter) -> None:
        """Decode everything now and keep it, if it takes no more than ``IN_MEMORY``. track: shows the progress."""
        if self._kept is not None or self.bytes > IN_MEMORY:
            return
        kept, taken = [], 0
        for index in track(range(len(self))):
            kept.append(self[index])
            taken += kept[-1][0].nbytes
            if taken > IN_MEMORY:  # the first image was a small one
                return
        self._kept = kept

    def subset(self, indices: list[int]) -> "Images":
        """Those of ``indices``, decoded as far as these are."""
        found = Images(Subset(self.dataset, indices))
        found._whole = self
        if self._kept is not None:
            found._kept = [self._kept[index] for index in indices]
        return found

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self._kept is not None:
            return self._kept[index]
        return self._first if index == 0 else self.dataset[index]


class Viewed(Dataset):
    """Images as ``view([image], [index])`` shows them; lists of indices give (uint8 [B, …], int64 [B]) at once."""

    def __init__(self, images: Images, view: Look):
        self.images, self.view = images, view

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels, labels = self.__getitems__([index])
        return pixels[0], int(labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        images, labels = zip(*(self.images[index] for index in indices))
        return self.view(images, indices), torch.tensor(labels)


def augmented(images: Images, augmentation: Augmentation, image_size: int, seed: int, epoch: int) -> Viewed:
    """Training views that depend on (seed, epoch, index) alone, not on who computes them or beside which others."""
    return Viewed(images, partial(training_view, augmentation, image_size, seed, epoch))


def training_view(
    augmentation: Augmentation, image_size: int, seed: int, epoch: int, images: list[Tensor], indices: list[int]
) -> Tensor:
    keys = np.array([(seed, epoch, index) for index in indices])
    return augmented_views(images, keys, augmentation, image_size)


def as_tested(images: Images, image_size: int, interpolation: str | None = None) -> Viewed:
    """Images as they are tested on. interpolation: None for the usual one."""
    view = evaluation_view(image_size, interpolation or usual_interpolation(image_size))
    return Viewed(images, partial(tested_view, view))


def tested_view(transform: v2.Transform, images: list[Tensor], _: list[int]) -> Tensor:
    return by_size(images, lambda group, rows: transform(group))


def together(found: list[Viewed]) -> Viewed:
    """Several views of the same images, each decoded once: (uint8 [B, V, 3, S, S], int64 [B])."""
    return Viewed(found[0].images, partial(stacked_views, [viewed.view for viewed in found]))


def stacked_views(views: list[Look], images: list[Tensor], indices: list[int]) -> Tensor:
    return torch.stack([view(images, indices) for view in views], dim=1)


def batches(
    dataset: Viewed, batch: int, order: list[int] | None = None, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """(uint8 [B, ..., 3, S, S], int64 [B]) in the given order of indices. Little data needs no worker processes."""
    workers = 0 if dataset.images.bytes <= FEW else workers
    order = range(len(dataset)) if order is None else order
    loader = DataLoader(dataset, batch_size=batch, sampler=order, num_workers=workers, collate_fn=as_it_is)
    return iter(loader)


def as_it_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def placed(module: nn.Module, device: str) -> nn.Module:
    """A network in eval mode on ``device``; on a GPU its convolutions read channels side by side, as ``shown`` gives
    them."""
    module = module.to(device).eval()
    return module.to(memory_format=torch.channels_last) if torch.device(device).type == "cuda" else module


def copied(modules: dict[float, nn.Module], devices: list[str]) -> list[dict[float, nn.Module]]:
    """``modules``, as ``placed`` on the first of ``devices``, and a copy of them on each of the others."""
    return [modules, *({w: placed(deepcopy(m), device) for w, m in modules.items()} for device in devices[1:])]


def shown(images: Tensor, device: str, mean: list[float], std: list[float]) -> Tensor:
    """uint8 [B, C, S, S] -> normalised, on ``device``; the host does not wait for a GPU to have them."""
    x = normalise(sent(images, torch.device(device)), mean, std)
    return x.contiguous(memory_format=torch.channels_last) if x.is_cuda else x
