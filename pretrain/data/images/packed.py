"""A split of an image folder as two files: the bytes of all images one after another, and where each begins.

``<split>.pack`` is MAGIC and the encoded files as they were; ``<split>.index.npz`` holds numpy arrays (ends, labels,
names) and a JSON header (format version, class names, fingerprint of what was packed), no pickle. A file system serves
one large file that is mapped into memory better than a million small ones. The index is written last: a split that has
one is complete.
"""

import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pretrain.common.errors import UserError
from pretrain.common.files import replacing
from pretrain.data.images.decode import readable
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.files import of_classes
from pretrain.data.images.identity import dataset_hash
from pretrain.data.images.index import PackedNames

MAGIC = b"US3L images\n"
VERSION = 1
WRITER = "expected what tools/pack.py writes"


class PackedImages(EncodedImages):
    """The images of a packed split; items equal those of the folder it was made from.

    remark: what ``found`` says besides.

    The file is mapped when the first image is read, by each process for itself; it is not pickled.
    UserError for files that are cut short, foreign or of a newer format.
    """

    def __init__(self, root: Path, split: str, channels: int = 3, remark: str = ""):
        self.path, index = pack_path(root, split), index_path(root, split)
        try:
            with np.load(index, allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
                self.ends, labels = arrays["ends"], arrays["labels"]
                names = PackedNames.of(arrays["names"], arrays["name_ends"])
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(f"{index} is no index of packed images ({error}); {WRITER}") from None
        if not isinstance(header, dict) or header.get("version") != VERSION:
            raise UserError(f"{index} has another format than version {VERSION}; {WRITER}")
        classes = header.get("classes")
        if not isinstance(classes, list) or not len(labels) == len(names) == len(self.ends) - 1:
            raise UserError(f"{index} is damaged: it has {len(labels)} labels of {len(names)} images; {WRITER}")
        super().__init__(names, labels, classes, f"{of_classes(len(labels), classes)}, packed{remark}", channels)
        self.source = header.get("source")
        self._check_bytes()
        self._bytes: np.memmap | None = None

    def _check_bytes(self) -> None:
        try:
            size = self.path.stat().st_size
            with open(self.path, "rb") as file:
                begins = file.read(len(MAGIC))
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}; {WRITER}") from None
        if begins != MAGIC:
            raise UserError(f"{self.path} holds no packed images; {WRITER}")
        if size != self.ends[-1]:
            raise UserError(f"{self.path} has {size} bytes where its index says {self.ends[-1]}: cut short or replaced")

    def name(self, index: int) -> str:
        return f"{self.names[index]} in {self.path}"

    def encoded(self, index: int) -> bytes:
        if self._bytes is None:
            self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r")
        index = range(len(self))[index]
        return self._bytes[self.ends[index] : self.ends[index + 1]].tobytes()

    def identity(self) -> Iterable[bytes]:
        found = self.path.stat()
        return (
            self.names.bytes.tobytes(), self.names.ends.tobytes(), self.ends.tobytes(),
            b"%d %d\n" % (found.st_size, found.st_mtime_ns),
        )  # fmt: skip

    def __getstate__(self) -> dict:
        return {**vars(self), "_bytes": None}


def pack_path(root: Path, split: str) -> Path:
    return root / f"{split}.pack"


def index_path(root: Path, split: str) -> Path:
    return root / f"{split}.index.npz"


def is_packed(root: Path, split: str) -> bool:
    """Whether ``root`` holds a packed split, be it unfinished."""
    return pack_path(root, split).exists() or index_path(root, split).exists()


def write_pack(images: EncodedImages, root: Path, split: str, watch: Callable[[range], Iterable[int]] = iter) -> None:
    """Pack ``images``; either file appears under its name when it is whole. watch: goes along and shows progress.

    UserError names a file that cannot be read.
    """
    ends, packed = [len(MAGIC)], dataset_hash(images)  # before anything is read: what changes meanwhile is noticed
    with replacing(pack_path(root, split)) as partial, open(partial, "wb") as file:
        file.write(MAGIC)
        for index in watch(range(len(images))):
            with readable(images.name(index)):
                encoded = images.encoded(index)
            ends.append(ends[-1] + file.write(encoded))
    header = json.dumps({"version": VERSION, "classes": images.classes, "source": packed}).encode()
    with replacing(index_path(root, split)) as partial, open(partial, "wb") as file:
        np.savez(
            file, header=np.frombuffer(header, np.uint8), ends=np.array(ends, np.int64), labels=images.labels.numpy(),
            names=images.names.bytes, name_ends=images.names.ends,
        )  # fmt: skip


def holds(root: Path, split: str, images: EncodedImages) -> bool:
    """Whether the split is packed completely, from these images: known by names, sizes and times of change, else by
    their bytes, since files may have been copied."""
    if not index_path(root, split).exists():
        return False
    packed = PackedImages(root, split)
    if packed.source == dataset_hash(images):
        return True
    return (
        packed.classes == images.classes
        and np.array_equal(packed.labels, images.labels)
        and np.array_equal(packed.names.bytes, images.names.bytes)
        and all(packed.encoded(index) == images.encoded(index) for index in range(len(images)))
    )
