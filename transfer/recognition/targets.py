"""The images of a recognition target, as its own file (transfer/recognition/sets/) reads them. Splits are the official
ones."""

from pathlib import Path

from pretrain.common.errors import UserError
from transfer.recognition.images import Images
from transfer.targets import data_root, target_named


def find_root(target: str, data: Path | None) -> Path | None:
    """The folder that holds ``target``: ``data`` itself, or its sub-folder or parent where the files are.

    data: None for ``DETECTRON2_DATASETS``, or ``datasets``. None for the embedded digits.
    """
    return target_named(target).reader.SET.find_root(data_root(data), target)


def download(target: str, root: Path | None) -> None:
    """Fetch what is missing of ``target`` into ``root``. UserError for what cannot be fetched: it says the way out."""
    target_named(target).reader.SET.download(target, root)


def load_splits(target: str, root: Path | None, image_size: int, channels: int = 3) -> tuple[Images, Images]:
    """The training and the test images of ``target``; root: see ``find_root``.

    Errors: UserError for data that are missing or damaged (it says what to fetch and where to put it), and for
    training and test images of different classes.
    """
    found, root = target_named(target).reader.SET, None if root is None else Path(root)
    train, test = (Images(found.read(target, root, split, image_size, channels)) for split in ("train", "test"))
    if not train.classes or not test.classes:
        raise UserError(f"the images of {root} have no labels; expected a folder for each class, or labels beside them")
    if train.classes != test.classes:
        odd = sorted(map(str, set(train.classes) ^ set(test.classes)))
        raise UserError(
            f"training and test images differ in their classes: {', '.join(odd[:5])} is in one of them only"
        )
    return train, test
