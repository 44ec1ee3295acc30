"""Image data sets by name: the embedded digits, images on disk, CIFAR. An item is (uint8 tensor [C, H, W], label)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as V

from pretrain.common.errors import UserError
from pretrain.common.named import named
from pretrain.data.images.digits import digits
from pretrain.data.images.encoded import DecodedImage, EncodedImage, EncodedImages
from pretrain.data.images.files import of_classes
from pretrain.data.images.index import PackedNames
from pretrain.data.images.layout import SPLITS, has_split, images_at


class TensorImages(Dataset):
    """Images that lie in memory, uint8 [N, C, H, W]."""

    def __init__(self, images: Tensor, labels: Tensor, classes: list[str]):
        self.images, self.labels, self.classes = images, labels, classes
        self.found = of_classes(len(images), classes)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])

    def open(self, index: int) -> DecodedImage:
        return DecodedImage(self.images[index])

    def identity(self) -> Iterator[bytes]:
        yield str(tuple(self.images.shape)).encode()
        yield self.images.contiguous().numpy().tobytes()


class Subset(Dataset):
    """The images of a data set that ``indices`` name, in this order."""

    def __init__(self, dataset: Dataset, indices: list[int]):
        self.dataset, self.classes, self.found = dataset, dataset.classes, dataset.found
        self.indices, self.labels = indices, dataset.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.dataset[self.indices[index]]

    def open(self, index: int) -> DecodedImage | EncodedImage:
        return self.dataset.open(self.indices[index])

    def name(self, index: int) -> str:
        return self.dataset.name(self.indices[index])

    def identity(self) -> Iterator[bytes]:
        yield from self.dataset.identity()
        yield str(self.indices).encode()


def _classes_of_all(parts: list[list[str]]) -> list[str]:
    numbers = [str(number) for number in range(max(map(len, parts)))]
    if all(part == numbers[: len(part)] for part in parts):
        return numbers
    return sorted({name for part in parts for name in part})


class JoinedImages(EncodedImages):
    """The images of several roots, one root after the other; classes of one name are one class. Numbers from 0 on stay
    what they are, as in each root."""

    def __init__(self, parts: list[EncodedImages]):
        labelled = all(part.classes for part in parts)
        classes = _classes_of_all([part.classes for part in parts]) if labelled else []
        number = {name: i for i, name in enumerate(classes)}
        labels = [
            np.array([number[name] for name in part.classes], np.int64)[part.labels] if labelled else part.labels * 0
            for part in parts
        ]
        names = PackedNames.joined([part.names for part in parts])
        super().__init__(
            names, np.concatenate(labels), classes, " and ".join(part.found for part in parts), parts[0].channels
        )
        self.parts, self.ends = parts, np.cumsum([len(part) for part in parts])

    def _at(self, index: int) -> tuple[EncodedImages, int]:
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[part], index - (int(self.ends[part - 1]) if part else 0)

    def name(self, index: int) -> str:
        part, index = self._at(index)
        return part.name(index)

    def encoded(self, index: int) -> bytes:
        part, index = self._at(index)
        return part.encoded(index)

    def identity(self) -> Iterator[bytes]:
        return (piece for part in self.parts for piece in part.identity())


Root = str | Path | Sequence[str | Path]


def image_dataset(
    name: str,
    root: Root | None = None,
    split: str = "train",
    image_size: int = 32,
    images_per_class: int | None = None,
    channels: int = 3,
) -> Dataset:
    """A map-style data set of (uint8 [C, H, W], label) with ``.classes`` (names), ``.labels`` [N] and ``.open(index)``,
    an image whose ``size`` is known before ``decode()``. Without labels there are no classes, and labels are 0.

    name: ``digits`` (embedded; the only one whose images are made at ``image_size``), ``folder`` and ``imagenet``
    (whatever layout.py recognises), ``cifar10`` and ``cifar100`` (torchvision's files, or such a layout of a split).
    Besides ``module:function`` of somebody's own that takes (root, split, image_size, channels).
    root: a folder or file, or several. split: ``train`` or ``test``. images_per_class: only the first so many of each
    class. channels: 3 are RGB, 1 is gray, others are those of the files.
    Errors: UserError for an unknown name, a missing root, a root without images.
    """
    dataset = named(name, DATASETS, "data set")(root, split, image_size, channels)
    return dataset if images_per_class is None else first_per_class(dataset, images_per_class)


def first_per_class(dataset: Dataset, count: int) -> Subset:
    """The first ``count`` images of each class of a data set, in its order. UserError for images without labels."""
    if not dataset.classes:
        raise UserError("images_per_class needs labels, which these images have not; expected a folder for each class")
    taken = [(dataset.labels == c).nonzero().flatten()[:count] for c in range(len(dataset.classes))]
    return Subset(dataset, torch.cat(taken).sort().values.tolist())


def _digits(root: Root | None, split: str, image_size: int, channels: int) -> Dataset:
    images, labels = digits(split, image_size)
    return TensorImages(with_channels(images, channels), labels, [str(d) for d in range(10)])


def _on_disk(root: Root | None, split: str, image_size: int, channels: int) -> Dataset:
    roots = _roots(root)
    found = [images for one in roots if (images := images_at(one, split, channels)) is not None]
    if not found:
        where = " or ".join(SPLITS[split])
        raise UserError(
            f"no '{where}' folder in {', '.join(map(str, roots))}; expected {roots[0]}/{split}/<class>/*.jpg or .png, "
            f"or a list, .pack, tar or parquet files of the split '{split}'"
        )
    return found[0] if len(found) == 1 else JoinedImages(found)


def _cifar(kind: type, root: Root | None, split: str, image_size: int, channels: int) -> Dataset:
    folder = _roots(root)[0]
    if has_split(folder, split):
        return _on_disk(root, split, image_size, channels)
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; expected the root of the data set '{kind.__name__.lower()}'")
    try:
        dataset = kind(folder, train=split == "train", download=False)
    except RuntimeError as error:
        raise UserError(
            f"no {kind.__name__} in {folder}: {error}; expected torchvision's layout, or train/ and test/"
        ) from None
    images = with_channels(torch.from_numpy(dataset.data).permute(0, 3, 1, 2), channels)
    return TensorImages(images, torch.tensor(dataset.targets), dataset.classes)


def _roots(root: Root | None) -> list[Path]:
    if not root:
        raise UserError("the data set needs its folder; expected data.root=FOLDER (or --data FOLDER)")
    return [Path(root)] if isinstance(root, (str, Path)) else [Path(one) for one in root]


# name -> what reads it, a function of (root, split, image_size, channels)
DATASETS: dict[str, Callable[[Root | None, str, int, int], Dataset]] = {
    "digits": _digits,
    "folder": _on_disk,
    "imagenet": _on_disk,
    "cifar10": partial(_cifar, torchvision.datasets.CIFAR10),
    "cifar100": partial(_cifar, torchvision.datasets.CIFAR100),
}


def with_channels(images: Tensor, channels: int) -> Tensor:
    """uint8 [N, 3, H, W] -> [N, channels, H, W], 1 (the luminance) or 3. UserError for others."""
    if channels == 3:
        return images
    if channels == 1:
        return V.rgb_to_grayscale(images)
    raise UserError(f"data.channels is {channels}, but these images have 3; expected 3 or 1")
