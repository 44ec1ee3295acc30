"""Tar shards, as WebDataset writes them: indexed once, then every image is read where it lies.

A sample is the members whose names agree up to the first dot of the last part (its key): an image and, for its label,
``.cls`` (a number or a name) or ``.json`` (its ``label`` or ``cls``). Without those a member's folder is its class. The
images are in the order of (label, member's name), as those of a folder, however they were dealt out to shards.
"""

import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pretrain.common.errors import UserError
from pretrain.data.images.decode import is_image_name
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.files import ignored_text, is_hidden, kind_of, numbered, of_classes
from pretrain.data.images.index import Index, PackedNames, counting, stamp

LABELS = ("label", "cls", "class")  # keys of a .json member
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

    def length(self, index: int) -> int:
        return int(self.places[index, 2])

    def identity(self) -> Iterable[bytes]:
        yield self.names.bytes.tobytes()
        yield self.places.tobytes()
        for shard in self.shards:
            yield repr(stamp(shard)[1:]).encode()


def index_tar(shards: list[Path]) -> Index:
    """The images of tar files. Errors: UserError names a shard that is cut short, compressed or no tar file."""
    names, places, labels, ignored = [], [], {}, Counter()
    with counting(f"{len(shards)} tar files") as count:
        for number, shard in enumerate(shards):
            before = len(names)
            for member, file in members(shard):
                base = member.name.rsplit("/", 1)[-1]
                if not member.isreg():
                    ignored["links"] += not member.isdir()
                elif any(is_hidden(part) for part in member.name.removeprefix("./").split("/")):
                    ignored["hidden"] += 1
                elif is_image_name(base):
                    names.append(member.name.removeprefix("./"))
                    places.append((number, member.offset_data, member.size))
                elif base.endswith((".cls", ".json")) and member.size <= LARGEST_LABEL:
                    labels[number, key_of(member.name)] = label_in(base, file.read(member.size))
                else:
                    ignored[kind_of(base)] += 1
            count(len(names) - before)
    where = f"{len(shards):,} tar {'file' if len(shards) == 1 else 'files'}"
    if not names:
        raise UserError(f"no images in {_first(shards)}{ignored_text(ignored, ': ')}; expected members like 0.jpg")
    found = [labels.get((place[0], key_of(name))) for name, place in zip(names, places)]
    if by_folder := all(label is None for label in found):
        found = [name.rpartition("/")[0].split("/")[0] or None for name in names]
    numbers, classes = numbered(found, names=by_folder)
    order = sorted(range(len(names)), key=lambda i: (numbers[i], names[i].split("/"), places[i]))
    text = f"{of_classes(len(names), classes)} in {where}{ignored_text(ignored)}"
    return Index(
        PackedNames(names[i] for i in order), numbers[order], classes, text, [stamp(shard) for shard in shards],
        tuple(map(str, shards)), np.array(places, np.int64)[order],
    )  # fmt: skip


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
    folder, slash, base = name.removeprefix("./").rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


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
