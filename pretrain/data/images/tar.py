"""Tar shards, as WebDataset writes them: indexed once, then every image is read where it lies.

A sample is the members whose names agree up to the first dot of the last part (its key); what follows is the extension.
Its image is the one whose extension is a suffix of images (``jpg``); beside such a one, ``seg.png`` is another field of
the sample, while names with dots that have none beside them, as files of cameras, are images. Its label is in ``.cls``
(a number or a name) or ``.json`` (its ``label`` or ``cls``). Without those a member's folder is its class. The images
are in the order of (label, member's name), as those of a folder, however they were dealt out to shards.
"""

import json
import os
import tarfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from pretrain.common.errors import UserError
from pretrain.data.images.decode import is_image_name
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.files import ignored_text, is_hidden, kind_of, numbered, of_classes
from pretrain.data.images.index import Coded, Index, PackedNames, counting, sorted_by_parts, stamp

LABELS = ("label", "cls", "class")  # keys of a .json member
PHOTOGRAPHS = ("jpg", "jpeg", "webp")
LARGEST_LABEL = 1 << 20  # bytes of a .cls or .json member


class TarImages(EncodedImages):
    """Members of tar files; ``index.places`` holds the shard, the offset and the length of each."""

    def __init__(self, index: Index, channels: int = 3):
        super().__init__(index.names, index.labels, index.classes, index.found, channels)
        self.shards, self.places = index.shards, index.places

    def name(self, index: int) -> str:
        return f"{self.names[index]} in {self.shards[self.places[index, 0]]}"

    def encoded(self, index: int) -> bytes:
        shard, start, length = self.places[index].tolist()
        file = os.open(self.shards[shard], os.O_RDONLY)
        try:
            found = os.pread(file, length, start)
        finally:
            os.close(file)
        if len(found) != length:
            raise OSError("the shard was cut short")
        return found

    def identity(self) -> Iterable[bytes]:
        yield self.names.bytes.tobytes()
        yield self.places.tobytes()
        for shard in self.shards:
            yield repr(stamp(shard)[1:]).encode()


def index_tar(shards: list[Path]) -> Index:
    """The images of tar files. Errors: UserError names a shard that is cut short, compressed or no tar file."""
    found = _Members()
    with counting(f"{len(shards)} tar files") as count:
        names = PackedNames(found.read(shards, count))
    where = f"{len(shards):,} tar {'file' if len(shards) == 1 else 'files'}"
    if not len(names):
        raise UserError(
            f"no images in {_first(shards)}{ignored_text(found.ignored, ': ')}; expected members like 0.jpg"
        )
    labels = found.labels
    if by_folder := labels.values == [None]:
        labels = Coded(name.partition("/")[0] if "/" in name else None for name in names)
    numbers, classes = numbered(labels.codes, labels.values, names=by_folder)
    order = sorted_by_parts(names, numbers)
    text = f"{of_classes(len(names), classes)} in {where}{ignored_text(found.ignored)}"
    return Index(
        names.reordered(order), numbers[order], classes, text, [stamp(shard) for shard in shards],
        tuple(map(str, shards)), np.frombuffer(found.places, np.int64).reshape(-1, 3)[order],
    )  # fmt: skip


class _Members:
    """What the images of some shards come with: places (three numbers each), labels, and what is none of them."""

    def __init__(self):
        self.places, self.labels, self.ignored = array("q"), Coded(), Counter()

    def read(self, shards: list[Path], count: Callable[[int], None]) -> Iterator[str]:
        """The name of each image, while the rest is gathered, a shard at a time."""
        for number, shard in enumerate(shards):
            labels, places = _Labels(), array("q")
            images = PackedNames(self._images(shard, labels, places))
            fields = _fields(images)
            for index, name in enumerate(images):
                if index in fields:
                    self.ignored[f".{extension_of(name)} beside an image of the same sample"] += 1
                    continue
                self.places.extend((number, *places[2 * index : 2 * index + 2]))
                self.labels.add(labels.of(name, shard))
                yield name
            count(len(images))

    def _images(self, shard: Path, labels: "_Labels", places: array) -> Iterator[str]:
        """The name of each image of a shard. Offsets and lengths go to ``places``, labels to ``labels``."""
        for member, file in members(shard):
            name = member.name.removeprefix("./")
            base = name.rsplit("/", 1)[-1]
            if not member.isreg():
                self.ignored["links"] += not member.isdir()
            elif any(is_hidden(part) for part in name.split("/")):
                self.ignored["hidden"] += 1
            elif is_image_name(base):
                places.extend((member.offset_data, member.size))
                yield name
            elif base.endswith((".cls", ".json")) and member.size <= LARGEST_LABEL:
                labels.add(name, label_in(base, file.read(member.size)))
            else:
                self.ignored[kind_of(base)] += 1


class _Labels:
    """The labels of a shard, by the names of their members without the suffix; of ``.cls`` before ``.json``."""

    def __init__(self):
        self.known: dict[str, str] = {}
        self.dotted: dict[str, set[str]] = {}  # by key, of members whose names have dots before their suffix

    def add(self, name: str, label: str | None) -> None:
        """The label in the member ``name``, if there is one."""
        stem, _, suffix = name.rpartition(".")
        if label is None or (suffix == "json" and stem in self.known):
            return
        self.known[stem] = label
        if stem != key_of(name):
            self.dotted.setdefault(key_of(name), set()).add(label)

    def of(self, image: str, shard: Path) -> str | None:
        """The label of the image's own name, else of its sample. UserError for a sample of several."""
        key = key_of(image)
        for stem in (image.rpartition(".")[0], key):
            if stem in self.known:
                return self.known[stem]
        found = sorted(self.dotted.get(key, ()))
        if len(found) > 1:
            raise UserError(f"{shard}: the sample {key} has the labels {', '.join(found[:5])}; expected one")
        return found[0] if found else None


def _fields(names: PackedNames) -> set[int]:
    """Which of a shard's images are other fields of a sample that has an image: ``0001.seg.png`` or ``0001.png`` beside
    ``0001.jpg``."""
    dotted = {index: key_of(name) for index, name in enumerate(names) if "." in extension_of(name)}
    keys = set(dotted.values())
    whole = keys and {key for name in names if "." not in extension_of(name) and (key := key_of(name)) in keys}
    return {index for index, key in dotted.items() if key in whole} | _doubles(names)


def _doubles(names: PackedNames) -> set[int]:
    """Of images that follow each other under one key, all but the sample's: a photograph's format before others (masks
    are no JPEGs), and the first of equals."""
    found, kept = set(), None
    for index, name in enumerate(names):
        extension, key = extension_of(name), key_of(name)
        if "." in extension:
            continue
        rank = extension.lower() not in PHOTOGRAPHS
        if kept is None or key != kept[0]:
            kept = key, rank, index
        elif rank < kept[1]:
            found.add(kept[2])
            kept = key, rank, index
        else:
            found.add(index)
    return found


def members(shard: Path) -> Iterator[tuple[tarfile.TarInfo, object]]:
    """Members in the order of the file, which stands at the contents of the member."""
    try:
        size = shard.stat().st_size
        with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # else a million of them stay in memory
                if not 0 <= member.size <= size - member.offset_data:
                    raise UserError(f"{shard} is cut short within {member.name}; expected a whole tar file")
                file.seek(member.offset_data)
                yield member, file
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise UserError(f"{shard} is cut short: it does not end as a tar file; expected a whole one")
            if any(any(block) for block in iter(lambda: file.read(1 << 16), b"")):
                raise UserError(f"{shard} goes on after its end: several tar files in one; expected each in its own")
    except UserError:
        raise
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"cannot read {shard}: {error}; expected a tar file that is not compressed") from None


def key_of(name: str) -> str:
    """A member's name up to the first dot of its last part."""
    return name.removesuffix(extension_of(name)).removesuffix(".")


def extension_of(name: str) -> str:
    """What follows that dot: ``seg.png`` of ``0001.seg.png``."""
    return name.rpartition("/")[2].partition(".")[2]


def label_in(name: str, content: bytes) -> str | None:
    """The label that a .cls or .json member holds, None if there is none."""
    text = content.decode("utf-8", "replace").strip()
    if name.endswith(".cls"):
        return text or None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = values if isinstance(values, dict) else {}
    found = next((values[key] for key in LABELS if isinstance(values.get(key), (str, int))), None)
    return None if found is None or isinstance(found, bool) else str(found)


def _first(shards: list[Path]) -> str:
    return str(shards[0]) if len(shards) == 1 else f"{shards[0]} and {len(shards) - 1} other tar files"
