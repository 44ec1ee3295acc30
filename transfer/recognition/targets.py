"""The data sets of recognition by name: where they lie, how they are split, and by which figure they are judged.

Files are read in torchvision's layouts; every set of files may also lie as a folder of images where that is usual
(CIFAR, ImageNet). Splits are the official ones. Flowers-102 has three, and the paper does not say which it trains on:
here training and validation images together (2,040), as is usual for linear evaluation; so with DTD, whose split is
the first of its ten. Pets has trainval and test.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import TensorImages, image_dataset
from pretrain.data.images.files import ImageFiles
from pretrain.data.images.layout import has_split
from transfer.recognition.images import Images

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
TORONTO = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class Target:
    """kind: torchvision's class, None for what is not in it. folder: where that looks for its files below the root.

    splits: arguments of ``kind`` whose images together make ours. archives: (URL, MD5) of what to fetch into
    root/``unpack``. folders: root/{train, test or val}/<class>/ will do too. headline: the data set's usual metric.
    """

    text: str
    headline: str = "top1"
    kind: type | None = None
    folder: str = ""
    splits: dict[str, tuple[dict, ...]] = field(default_factory=dict)
    archives: tuple[tuple[str, str], ...] = ()
    unpack: str = ""
    folders: bool = False


CIFAR = {"train": ({"train": True},), "test": ({"train": False},)}
THREE = {"train": ({"split": "train"}, {"split": "val"}), "test": ({"split": "test"},)}
SETS = {
    "digits": Target("scikit-learn's digits, embedded"),
    "folder": Target("DATA/{train,test or val}/<class>/ of images", folders=True),
    "cifar10": Target(
        "CIFAR-10, torchvision's files or train/ and test/ folders", "top1", torchvision.datasets.CIFAR10,
        "cifar-10-batches-py", CIFAR, ((f"{TORONTO}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        folders=True,
    ),
    "cifar100": Target(
        "CIFAR-100, as CIFAR-10", "top1", torchvision.datasets.CIFAR100,
        "cifar-100-python", CIFAR, ((f"{TORONTO}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
        folders=True,
    ),
    "flowers": Target(
        "Flowers-102", "class_mean", torchvision.datasets.Flowers102, "flowers-102", THREE,
        (
            (f"{OXFORD}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            (f"{OXFORD}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
            (f"{OXFORD}/flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
        ), "flowers-102",
    ),
    "pets": Target(
        "Oxford-IIIT Pet, 37 breeds", "class_mean", torchvision.datasets.OxfordIIITPet, "oxford-iiit-pet",
        {"train": ({"split": "trainval"},), "test": ({"split": "test"},)},
        (
            (f"{OXFORD}/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            (f"{OXFORD}/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ), "oxford-iiit-pet",
    ),
    "dtd": Target(
        "Describable Textures, split 1", "top1", torchvision.datasets.DTD, "dtd/dtd", THREE,
        ((f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),), "dtd",
    ),
    "imagenet": Target("ImageNet, DATA/train/<class>/ and DATA/val/<class>/", folders=True),
}  # fmt: skip


def headline(target: str) -> str:
    """The usual metric of a data set: the mean of the classes' accuracies on Flowers and Pets, else top-1."""
    return SETS[target].headline


def find_root(target: str, data: Path | None) -> Path | None:
    """The folder that holds ``target``: ``data`` itself, or its sub-folder or parent where the files are.

    data: None for ``DETECTRON2_DATASETS``, or ``datasets``. None for the embedded digits.
    """
    if target == "digits":
        return None
    spec = SETS[target]
    given = Path(data or os.environ.get("DETECTRON2_DATASETS") or "datasets")
    if target == "folder":
        return given
    parents = [given.parent] if spec.unpack and given.name == spec.unpack else []
    for root in (given, given / target, *parents):
        if (spec.folders and has_split(root, "train")) or (spec.folder and (root / spec.folder).is_dir()):
            return root
    return given


def load_splits(target: str, root: Path | None, image_size: int, download: bool = False) -> tuple[Images, Images]:
    """The training and the test images of ``target``, which is one of ``SETS``; root: see ``find_root``.

    Errors: UserError for data that are missing or damaged (it says what to fetch and where to put it), and for
    training and test images of different classes.
    """
    spec = SETS[target]
    in_folders = spec.folders and (spec.kind is None or has_split(Path(root), "train"))
    if in_folders or target == "digits":
        found = [_folders(target, root, split, image_size) for split in ("train", "test")]
    else:
        if download:
            fetch(target, spec, Path(root))
        found = [read(target, spec, Path(root), split) for split in ("train", "test")]
    train, test = map(Images, found)
    if train.classes != test.classes:
        odd = sorted(map(str, set(train.classes) ^ set(test.classes)))
        raise UserError(
            f"training and test images differ in their classes: {', '.join(odd[:5])} is in one of them only"
        )
    return train, test


def _folders(target: str, root: Path | None, split: str, image_size: int) -> Dataset:
    if target == "imagenet" and not all(has_split(Path(root), split) for split in ("train", "test")):
        raise UserError(
            f"no imagenet in {root}; expected {root}/train/<class>/*.JPEG and {root}/val/<class>/*.JPEG "
            "(ILSVRC 2012, from https://image-net.org after registration), or name its folder with --data"
        )
    return image_dataset("digits" if target == "digits" else "folder", root, split, image_size)


def fetch(target: str, spec: Target, root: Path) -> None:
    """Download by torchvision what is not there yet; UserError says what to fetch by hand if that fails."""
    print(f"{target} in {root}: torchvision downloads what is missing", flush=True)
    try:
        for part in spec.splits["train"]:
            spec.kind(root, download=True, **part)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; RuntimeError: another MD5
        raise UserError(f"cannot download {target}: {_line(error)}; {by_hand(spec, root)}") from None


def by_hand(spec: Target, root: Path) -> str:
    """What to fetch and where to put it, for people whose machine has no network."""
    files = " and ".join(f"{url} (MD5 {md5})" for url, md5 in spec.archives)
    return f"fetch {files} to {root / spec.unpack} and unpack there"


def read(target: str, spec: Target, root: Path, split: str) -> Dataset:
    """One split of a data set in torchvision's layout."""
    try:
        parts = [spec.kind(root, download=False, **part) for part in spec.splits[split]]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = _line(error).removesuffix(" You can use download=True to download it")
        raise UserError(
            f"no {target} in {root}: {reason}; name its folder with --data, have it fetched with --download, "
            f"or {by_hand(spec, root)}"
        ) from None
    if hasattr(parts[0], "data"):
        [source] = parts
        return TensorImages(cifar_pixels(source), torch.tensor(source.targets), list(source.classes))
    # torchvision has no public list of files; its own __getitem__ names no file that it cannot read
    files = [file for part in parts for file in getattr(part, "_image_files", None) or part._images]
    labels = [label for part in parts for label in part._labels]
    classes = list(getattr(parts[0], "classes", None) or range(max(labels) + 1))
    if any(list(getattr(part, "classes", classes)) != classes for part in parts):
        raise UserError(f"the splits of {target} in {root} differ in their classes; expected the whole data set")
    return ImageFiles(root, (Path(file).relative_to(root).as_posix() for file in files), labels, classes)


def cifar_pixels(source: Dataset) -> Tensor:
    """uint8 [N, 3, 32, 32] of torchvision's [N, 32, 32, 3]."""
    return torch.from_numpy(source.data).permute(0, 3, 1, 2)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
