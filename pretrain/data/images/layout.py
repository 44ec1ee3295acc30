"""How a data set of images lies on disk, recognised by what is there.

A root is a folder or a file. For a split (``train`` or ``test``) the first of these that is there counts:

    <split>.pack                       what tools/pack.py writes
    train/, test/, val/, validation/   a folder of the split, which holds one of the arrangements below
    train.txt, val.csv, …              a list of the split
    *.tar or *.parquet                 shards, here or in data/; with a split in their names only those of the split
    images, in sub-folders or not      the training images, if there is no folder of any split

or the root is itself a list, a tar file or a parquet file, of training images.

A folder named as a split is a class where it looks like one: it and folders of other names beside it hold images
themselves, and there is no folder of the other split.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.data.images.decode import is_image_name
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.files import LISTS, ImageFiles, index_folder, index_list, is_hidden
from pretrain.data.images.index import cached
from pretrain.data.images.packed import PackedImages, is_packed
from pretrain.data.images.parquet import ParquetImages, index_parquet
from pretrain.data.images.tar import TarImages, index_tar

SPLITS = {"train": ("train",), "test": ("test", "val", "validation")}
SHARDS = {".tar": (index_tar, TarImages), ".parquet": (index_parquet, ParquetImages)}
ENDS = tuple(SHARDS)
COMPRESSED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip")


def images_at(root: Path, split: str, channels: int = 3) -> EncodedImages | None:
    """The images of a split, None where ``root`` holds splits, but not this one.

    Errors: UserError for a root that is not there, cannot be read, or holds no images.
    """
    if os.path.isfile(root):
        return _file(root, split, channels)
    if not os.path.isdir(root):
        raise UserError(f"no such folder or file: {root}; expected images, a list, tar shards or parquet files")
    try:
        return _in_folder(root, split, channels)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror or error}") from None


def _in_folder(root: Path, split: str, channels: int) -> EncodedImages | None:
    if is_packed(root, split):
        beside = [path.name for path in (_split_folder(root, split), _split_list(root, split)) if path is not None]
        beside += [shard.name for shard in of_split(shards_in(root), split)]
        return PackedImages(root, split, channels, _listing("; not read, beside it: ", beside))
    if (folder := _split_folder(root, split)) is not None:
        beside = _picture_folders(root, but=_named_as_splits(root))
        beside += [] if (listed := _split_list(root, split)) is None else [listed.name]
        return _folder(folder, shards_in(folder), split, channels, _listing("; not read, beside it: ", beside))
    if (listed := _split_list(root, split)) is not None:
        return _listed(listed, channels)
    if shards := shards_in(root):
        chosen = of_split(shards, split)
        return _sharded(root, chosen, split, channels) if chosen else None
    if split != "train" or any(_has(root, other) for other in SPLITS):
        return None
    classes = _listing("; a class as the folders beside it, no split: ", _named_as_splits(root))
    return _folder(root, [], split, channels, classes, f"no '{split}' folder in {root} and no images")


def has_split(root: Path, split: str) -> bool:
    """Whether ``root`` holds images of the split in a place that bears its name, or training images in shards."""
    return root.is_dir() and (_has(root, split) or bool(of_split(shards_in(root), split)))


def _has(root: Path, split: str) -> bool:
    return is_packed(root, split) or bool(_split_folder(root, split)) or bool(_split_list(root, split))


def _split_folder(root: Path, split: str) -> Path | None:
    names = [name for name in _named_as_splits(root) if name in SPLITS[split]]
    return root / names[0] if names and not _are_classes(root) else None


def _named_as_splits(root: Path) -> list[str]:
    return [name for names in SPLITS.values() for name in names if (root / name).is_dir()]


def _are_classes(root: Path) -> bool:
    """Whether folders that are named as a split are classes, see the module."""
    named = _named_as_splits(root)
    both = all(set(names) & set(named) for names in SPLITS.values())
    return not both and all(_holds_pictures(root / name) for name in named) and bool(_picture_folders(root, but=named))


def _picture_folders(root: Path, but: list[str]) -> list[str]:
    """Names of the folders in ``root`` that hold images themselves, but for some."""
    with os.scandir(root) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not is_hidden(e.name) and e.name not in but)
    return [name for name in names if _holds_pictures(root / name)]


def _holds_pictures(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image_name(entry.name) and entry.is_file() for entry in entries if not is_hidden(entry.name))


def _listing(text: str, names: list[str]) -> str:
    """``text`` and some names; nothing without any."""
    return f"{text}{', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else ""


def _split_list(root: Path, split: str) -> Path | None:
    paths = (root / f"{name}{suffix}" for name in SPLITS[split] for suffix in LISTS)
    return next((path for path in paths if path.is_file()), None)


def _file(path: Path, split: str, channels: int) -> EncodedImages | None:
    suffix = path.suffix.lower()
    if suffix in SHARDS:
        return _sharded(path, [path], split, channels) if split == "train" else None
    if suffix in LISTS:
        return _listed(path, channels) if split == "train" else None
    hint = "; unpack it" if path.name.lower().endswith(COMPRESSED) else ""
    raise UserError(f"{path} is no data set; expected a folder, a list ({', '.join(LISTS)}), .tar or .parquet{hint}")


def _folder(
    folder: Path, shards: list[Path], split: str, channels: int, remark: str, empty: str = "no images"
) -> EncodedImages:
    if shards:
        return _sharded(folder, shards, split, channels)
    index = cached("folder", folder, split, lambda: index_folder(folder, empty))
    return ImageFiles(folder, index.names, index.labels, index.classes, index.found + remark, channels)


def _listed(path: Path, channels: int) -> EncodedImages:
    index = cached("list", path, "", lambda: index_list(path))
    return ImageFiles(path.parent, index.names, index.labels, index.classes, index.found, channels)


def _sharded(root: Path, shards: list[Path], split: str, channels: int) -> EncodedImages:
    build, kind = SHARDS[shards[0].suffix.lower()]
    index = cached(shards[0].suffix, root, f"{split} {[shard.name for shard in shards]}", lambda: build(shards))
    return kind(index, channels)


def shards_in(folder: Path) -> list[Path]:
    """The tar or parquet files of a folder, or of its sub-folder ``data``, sorted. UserError where there are both."""
    for place in (folder, folder / "data"):
        if not place.is_dir():
            continue
        with os.scandir(place) as entries:  # perhaps of a million images: no more than the ends of their names
            found = sorted(Path(e.path) for e in entries if e.name[-8:].lower().endswith(ENDS) and _is_shard(e))
        if len(kinds := sorted({path.suffix.lower() for path in found})) > 1:
            raise UserError(f"{place} holds {' and '.join(kinds)} files; expected one kind of shards in a folder")
        if found:
            return found
    return []


def _is_shard(entry: os.DirEntry) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in SHARDS and not entry.name.startswith(".") and entry.is_file()


def of_split(shards: Iterable[Path], split: str) -> list[Path]:
    """Those of a split, which their names tell (``train-00000-of-00010.parquet``); a name that tells none is of
    training."""
    of_test = {*SPLITS["test"]}
    found = []
    for shard in shards:
        parts = set(re.split(r"[^a-z]+", shard.stem.lower()))
        if bool(parts & of_test and not parts & {*SPLITS["train"]}) == (split == "test"):
            found.append(shard)
    return found
