"""Labelled image data sets: the embedded digits, image folders, CIFAR. An item is (uint8 tensor [3, H, W], label)."""

from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.errors import UserError, nearest
from pretrain.data.images.digits import digits
from pretrain.data.images.encoded import EncodedImage
from pretrain.data.images.files import FolderImages
from pretrain.data.images.packed import PackedImages, is_packed

SPLITS = {"train": ("train",), "test": ("test", "val")}
CIFAR = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}
NAMES = ("digits", "folder", "imagenet", *CIFAR)


class DecodedImage(NamedTuple):
    """An image in memory, where an ``EncodedImage`` is expected."""

    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.pixels.shape[1:])

    def decode(self, reduction: int = 1) -> Tensor:
        return self.pixels


class TensorImages(Dataset):
    """Images that lie in memory."""

    def __init__(self, images: Tensor, labels: Tensor, classes: list[str]):
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])

    def open(self, index: int) -> DecodedImage:
        return DecodedImage(self.images[index])


class FirstPerClass(Dataset):
    """The first ``count`` images of each class of a data set, in its order."""

    def __init__(self, source: Dataset, count: int):
        self.source, self.classes = source, source.classes
        taken = [(source.labels == c).nonzero().flatten()[:count] for c in range(len(source.classes))]
        self.indices = torch.cat(taken).sort().values.tolist()
        self.labels = source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.source[self.indices[index]]

    def open(self, index: int) -> DecodedImage | EncodedImage:
        return self.source.open(self.indices[index])


def image_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    image_size: int = 32,
    images_per_class: int | None = None,
) -> Dataset:
    """A map-style data set of (uint8 [3, H, W], label) with ``.classes`` (names), ``.labels`` [N] and ``.open(index)``,
    an image whose ``size`` is known before ``decode()``.

    name: ``digits`` (embedded; the only one whose images are made at ``image_size``), ``folder`` and ``imagenet``
    (root/{train,test|val}/<class>/*, or that folder as tools/pack.py packs it), ``cifar10`` and ``cifar100``
    (torchvision's files, or folders like those, packed or not).
    split: ``train`` or ``test``. images_per_class: only the first so many of each class.
    Errors: UserError for an unknown name, a missing root, a folder without images.
    """  # fmt: skip
    if name not in NAMES:
        raise UserError(f"unknown data set '{name}'{nearest(name, NAMES)}")
    dataset = _whole(name, root, split, image_size)
    return dataset if images_per_class is None else FirstPerClass(dataset, images_per_class)


def _whole(name: str, root: str | Path | None, split: str, image_size: int) -> Dataset:
    if name == "digits":
        return TensorImages(*digits(split, image_size), [str(d) for d in range(10)])
    if root is None:
        raise UserError(f"the data set '{name}' needs its folder; expected data.root=FOLDER (or --data FOLDER)")
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; expected the root of the data set '{name}'")
    if is_packed(root, split):
        return PackedImages(root, split)
    folder = image_folder(root, split)
    if folder is not None:
        return FolderImages(folder)
    if name in CIFAR:
        return _cifar(CIFAR[name], root, split)
    raise UserError(
        f"no '{' or '.join(SPLITS[split])}' folder in {root}; expected {root}/{split}/<class>/*.jpg or .png"
    )


def image_folder(root: Path, split: str) -> Path | None:
    """The folder of a split, None if there is none. UserError for a root that is not there."""
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; expected one with {' or '.join(SPLITS[split])} below it")
    return next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)


def has_split(root: Path, split: str) -> bool:
    """Whether ``root`` holds an image folder of the split, packed or not."""
    return is_packed(root, split) or any((root / name).is_dir() for name in SPLITS[split])


def _cifar(kind: type, root: Path, split: str) -> TensorImages:
    try:
        source = kind(root, train=split == "train", download=False)
    except RuntimeError as error:
        raise UserError(
            f"no {kind.__name__} in {root}: {error}; expected torchvision's layout, or train/ and test/"
        ) from None
    return TensorImages(torch.from_numpy(source.data).permute(0, 3, 1, 2), torch.tensor(source.targets), source.classes)
