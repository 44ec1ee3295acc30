"""Data sets in torchvision's layouts; where it is usual they may also lie as folders of images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import TensorImages, with_channels
from pretrain.data.images.files import ImageFiles
from pretrain.data.images.layout import has_split
from transfer.recognition.sets.folders import Folders

TRAIN_AND_VAL = {"train": ({"split": "train"}, {"split": "val"}), "test": ({"split": "test"},)}


@dataclass(frozen=True)
class TorchvisionFiles:
    """kind: torchvision's class. folder: where that looks for its files below the root.

    splits: arguments of ``kind`` whose images together make ours. archives: (URL, MD5) of what to fetch into
    root/``unpack``. folders: root/{train, test or val}/<class>/ will do too.
    """

    kind: type
    folder: str
    splits: dict[str, tuple[dict, ...]]
    archives: tuple[tuple[str, str], ...]
    unpack: str = ""
    folders: bool = False

    def find_root(self, given: Path, name: str) -> Path:
        """The folder that holds ``folder``: ``given``, the one called ``name`` in it, or its parent."""
        parents = [given.parent] if self.unpack and given.name == self.unpack else []
        for root in (given, given / name, *parents):
            if (self.folders and has_split(root, "train")) or (root / self.folder).is_dir():
                return root
        return given

    def read(self, name: str, root: Path, split: str, image_size: int, channels: int = 3) -> Dataset:
        """One split, ``train`` or ``test``.

        Errors: UserError for data that are missing or damaged; it says what to fetch and where to put it.
        """
        if self.folders and has_split(root, "train"):
            return Folders().read(name, root, split, image_size, channels)
        try:
            parts = [self.kind(root, download=False, **part) for part in self.splits[split]]
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            reason = _line(error).removesuffix(" You can use download=True to download it")
            raise UserError(
                f"no {name} in {root}: {reason}; name its folder with --data, have it fetched with --download, "
                f"or {self.by_hand(root)}"
            ) from None
        if hasattr(parts[0], "data"):
            [dataset] = parts
            return TensorImages(
                with_channels(cifar_pixels(dataset), channels), torch.tensor(dataset.targets), list(dataset.classes)
            )
        # torchvision has no public list of files; its own __getitem__ names no file that it cannot read
        files = [file for part in parts for file in getattr(part, "_image_files", None) or part._images]
        labels = [label for part in parts for label in part._labels]
        classes = list(getattr(parts[0], "classes", None) or range(max(labels) + 1))
        if any(list(getattr(part, "classes", classes)) != classes for part in parts):
            raise UserError(f"the splits of {name} in {root} differ in their classes; expected the whole data set")
        names = (Path(file).relative_to(root).as_posix() for file in files)
        return ImageFiles(root, names, labels, classes, channels=channels)

    def download(self, name: str, root: Path) -> None:
        """Fetch by torchvision what is not there yet; UserError says what to fetch by hand if that fails."""
        if self.folders and has_split(root, "train"):
            return
        print(f"{name} in {root}: torchvision downloads what is missing", flush=True)
        try:
            for part in self.splits["train"]:
                self.kind(root, download=True, **part)
        except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; RuntimeError: another MD5
            raise UserError(f"cannot download {name}: {_line(error)}; {self.by_hand(root)}") from None

    def by_hand(self, root: Path) -> str:
        """What to fetch and where to put it, for people whose machine has no network."""
        files = " and ".join(f"{url} (MD5 {md5})" for url, md5 in self.archives)
        return f"fetch {files} to {root / self.unpack} and unpack there"


def cifar_pixels(dataset: Dataset) -> Tensor:
    """uint8 [N, 3, 32, 32] of torchvision's [N, 32, 32, 3]."""
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
