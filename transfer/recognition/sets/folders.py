"""Data sets that lie as folders of images, DATA/{train,test or val}/<class>/."""

from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.layout import has_split


@dataclass(frozen=True)
class Folders:
    """missing: what is expected in a root that lacks a split, ``{root}`` in it; by default the missing folder is named.

    beside: the set may also lie in a folder of its own name below DATA.
    """

    missing: str = ""
    beside: bool = True

    def find_root(self, given: Path, name: str) -> Path:
        """The folder that holds the splits: ``given``, or the one called ``name`` in it."""
        found = [root for root in (given, given / name) if has_split(root, "train")] if self.beside else []
        return found[0] if found else given

    def read(self, name: str, root: Path, split: str, image_size: int, channels: int = 3) -> Dataset:
        """One split, ``train`` or ``test``. Errors: UserError for a missing one."""
        if self.missing and not all(has_split(root, part) for part in ("train", "test")):
            raise UserError(f"no {name} in {root}; expected {self.missing.format(root=root)}")
        return image_dataset("folder", root, split, image_size, channels=channels)

    def download(self, name: str, root: Path) -> None:
        raise UserError(f"--download: {name} is nothing that torchvision fetches; name its folder with --data")
