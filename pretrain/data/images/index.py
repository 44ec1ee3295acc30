"""The index of a data set: names, labels and places of its images, in arrays, found again by what determines it.

A million images as Python objects take hundreds of megabytes, and every worker process comes to hold a copy of its own,
because reading an object changes its reference count. Arrays take a tenth of that and are shared.

A large index is kept in a cache folder, ``US3L_CACHE`` or ``~/.cache/us3l``, one .npy file for each array, and mapped
from there into the memory of every process. It holds as long as the folders, lists or shards that it was made from have
the sizes and times of change that they had (``stamps``).
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
import warnings
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, TextColumn

from pretrain.common.errors import UserError
from pretrain.common.files import read_object, replacing_folder
from pretrain.common.settings import read

VERSION = 3
WORTHWHILE = 20_000  # images; smaller indices are made as fast as they are found again
ARRAYS = ("bytes", "ends", "labels", "places")
SETTLED = 2.0  # seconds after which a folder's time of change tells that it changed again


class PackedNames:
    """A sequence of texts as one array of bytes and their ends: ``names[i]``, ``len(names)``."""

    def __init__(self, names: Iterable[str]):
        packed = bytearray()
        ends = np.fromiter(self._ends(names, packed), dtype=np.int64)
        self.bytes, self.ends = np.frombuffer(bytes(packed), dtype=np.uint8), ends

    @staticmethod
    def _ends(names: Iterable[str], packed: bytearray) -> Iterator[int]:
        yield 0
        for name in names:
            packed += name.encode("utf-8", "surrogateescape")
            yield len(packed)

    @classmethod
    def of(cls, encoded: np.ndarray, ends: np.ndarray) -> "PackedNames":
        """Names from the two arrays of another one."""
        names = cls(())
        names.bytes, names.ends = encoded, ends
        return names

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.bytes[self.ends[index] : self.ends[index + 1]].tobytes().decode("utf-8", "surrogateescape")

    def reordered(self, order: Iterable[int]) -> "PackedNames":
        return PackedNames(self[index] for index in order)

    @classmethod
    def joined(cls, parts: Sequence["PackedNames"]) -> "PackedNames":
        """Those of one after those of the other."""
        starts = np.cumsum([0, *(len(part.bytes) for part in parts)])
        ends = [part.ends[1:] + start for part, start in zip(parts, starts)]
        return cls.of(np.concatenate([part.bytes for part in parts]), np.concatenate([[0], *ends]))


class Coded:
    """A list of values of which many are equal, as numbers: ``values[codes[i]]`` is the i-th that was added."""

    def __init__(self, values: Iterable[Hashable] = ()):
        self.numbers: dict[Hashable, int] = {}
        self._codes = array("q")
        for value in values:
            self.add(value)

    def add(self, value: Hashable) -> None:
        self._codes.append(self.numbers.setdefault(value, len(self.numbers)))

    @property
    def values(self) -> list:
        return list(self.numbers)

    @property
    def codes(self) -> np.ndarray:
        return np.frombuffer(self._codes, dtype=np.int64) if self._codes else np.zeros(0, np.int64)


def sorted_by_parts(names: PackedNames, labels: np.ndarray) -> np.ndarray:
    """int64 [N]: the order of images by (label, the parts of their names), as folders are walked; equal ones stay."""
    order = np.argsort(labels, kind="stable")
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    for run in np.split(order, ends):  # views; one class after the other, so that few names are objects at a time
        keys = [names[index].replace("/", "\0") for index in run]
        if any(before > after for before, after in zip(keys, keys[1:])):
            run[:] = run[sorted(range(len(run)), key=keys.__getitem__)]
    return order


@dataclass(frozen=True)
class Index:
    """names: of the N images. labels: int64 [N], 0 without classes. found: in words.

    shards: files that hold many images, and places: int64 [N, 3], where in them (shard and two numbers that the kind
    of storage understands); none where every image is a file. stamps: of everything that the index depends on.
    """

    names: PackedNames
    labels: np.ndarray
    classes: list[str]
    found: str
    stamps: list[tuple[str, int, int]]
    shards: tuple[str, ...] = ()
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def holds(self) -> bool:
        """Whether the arrays fit each other: every name, label and place is there."""
        encoded, ends, labels, places = self.names.bytes, self.names.ends, self.labels, self.places
        kinds = [(array.dtype, array.ndim) for array in (encoded, ends, labels, places)]
        if kinds != [(np.uint8, 1), (np.int64, 1), (np.int64, 1), (np.int64, 2)]:
            return False
        count = len(labels)
        return (
            len(ends) == count + 1 and ends[0] == 0 and ends[-1] == len(encoded) and not (np.diff(ends) < 0).any()
            and places.shape == (count if self.shards else 0, 3)
            and not (labels < 0).any() and not (labels >= max(1, len(self.classes))).any()
            and not (places < 0).any() and not (places[:, 0] >= len(self.shards)).any()
        )  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What is kept of an index besides its arrays."""

    images: int
    classes: list[str]
    found: str
    stamps: list[tuple[str, int, int]]
    shards: list[str]


def stamp(path: str | Path) -> tuple[str, int, int]:
    """(path, size, time of change in ns) of a file or folder."""
    found = os.stat(path)
    return str(path), found.st_size, found.st_mtime_ns


def cached(kind: str, root: Path, split: str, build: Callable[[], Index]) -> Index:
    """The index of ``root`` from the cache, or built; a large one is kept. Processes that want it wait for one."""
    key = json.dumps([VERSION, kind, os.path.realpath(root), split])
    folder = cache_folder() / "index" / hashlib.sha256(key.encode()).hexdigest()[:32]
    found = _load(folder)
    if found is not None:
        return found
    with _alone(folder):
        found = _load(folder)
        if found is None:
            found = build()
            _keep(found, folder)
    return found


def cache_folder() -> Path:
    """``US3L_CACHE``, else ``~/.cache/us3l``."""
    return Path(os.environ.get("US3L_CACHE") or Path.home() / ".cache" / "us3l")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While one process is here others wait, where the cache can be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = open(f"{folder}.lock", "w")  # noqa: SIM115
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):  # a file system without locks: everybody builds
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _load(folder: Path) -> Index | None:
    header = read_object(folder / "header.json")
    try:
        found = read(Header, header, str(folder))
        if any(stamp(entry[0]) != entry for entry in found.stamps):
            return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    except (OSError, ValueError, EOFError):
        return None
    names = PackedNames.of(arrays["bytes"], arrays["ends"])
    index = Index(
        names, arrays["labels"], found.classes, found.found, found.stamps, tuple(found.shards), arrays["places"]
    )
    return index if len(index) == found.images and index.holds() else None


def _keep(index: Index, folder: Path) -> None:
    """Write the index beside ``folder`` and give it its name at the end; a warning where it cannot be written.

    What has just changed may change again without a trace; a time in the future tells of any later change.
    """
    now = time.time()
    if len(index) < WORTHWHILE or any(abs(now - changed / 1e9) < SETTLED for _, _, changed in index.stamps):
        return
    header = {
        "images": len(index), "classes": index.classes, "found": index.found, "stamps": index.stamps,
        "shards": index.shards,
    }  # fmt: skip
    arrays = dict(zip(ARRAYS, (index.names.bytes, index.names.ends, index.labels, index.places)))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        with replacing_folder(folder) as partial:
            for name, values in arrays.items():
                np.save(partial / f"{name}.npy", values)
            (partial / "header.json").write_text(json.dumps(header))
    except UserError as error:
        warnings.warn(
            f"the index of {len(index):,} images is made anew by each process: {error}; US3L_CACHE names another place",
            stacklevel=2,
        )


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Shows how many images an index has so far; call with the number of new ones."""
    columns = (TextColumn(f"looking for images in {what}: {{task.completed:,.0f}}"),)
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda count: bar.update(task, advance=count)
