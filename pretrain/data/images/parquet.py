"""Parquet files of images, as Hugging Face's datasets are kept: a column of (bytes, path), and perhaps one of labels.

A row group is read as a whole, so single images in random order cost what their row groups do; the last few stay in
memory. tools/pack.py makes the arrangement that is read image by image. The images are in the order of the rows, or,
where all have paths and labels, of (label, path), as those of a folder.
"""

import json
import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.common.errors import UserError
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.files import numbered, of_classes
from pretrain.data.images.index import Coded, Index, PackedNames, counting, sorted_by_parts, stamp

IMAGES, LABELS = ("image", "img", "jpg", "png", "picture", "photo"), ("label", "labels", "cls", "class", "fine_label")
KEPT = 8  # row groups


def parquet_module() -> Any:
    """pyarrow.parquet, an optional dependency."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError("parquet files need pyarrow; pip install pyarrow") from None
    return pyarrow.parquet


class ParquetImages(EncodedImages):
    """Rows of parquet files; ``index.places`` holds the file, the row group and the row in it of each."""

    def __init__(self, index: Index, channels: int = 3):
        super().__init__(index.names, index.labels, index.classes, index.found, channels)
        self.shards, self.places = index.shards, index.places
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._process = os.getpid()

    def name(self, index: int) -> str:
        return f"{self.names[index]} in {self.shards[self.places[index, 0]]}"

    def encoded(self, index: int) -> bytes:
        shard, group, row = self.places[index].tolist()
        found = self._group(shard, group)[row].as_py()
        if not found:
            raise OSError("the row holds no bytes")
        return found

    def _group(self, shard: int, group: int) -> Any:
        if self._process != os.getpid():  # a loader worker: what the parent opened is the parent's
            self._process, self._groups = os.getpid(), OrderedDict()
        if (shard, group) not in self._groups:
            file = open_parquet(Path(self.shards[shard]))
            try:
                column = file.read_row_group(group, columns=[bytes_column(file)], use_threads=False).column(0)
            except Exception as error:  # pyarrow's errors are of many kinds
                raise OSError(f"the file was cut short or changed ({_line(error)})") from None
            while hasattr(column.type, "num_fields") and column.type.num_fields:
                column = column.flatten()[0]
            self._groups[shard, group] = column
            while len(self._groups) > KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end((shard, group))
        return self._groups[shard, group]

    def identity(self) -> Iterable[bytes]:
        yield self.names.bytes.tobytes()
        yield self.places.tobytes()
        for shard in self.shards:
            yield repr(stamp(shard)[1:]).encode()

    def __getstate__(self) -> dict:
        return {**vars(self), "_groups": OrderedDict()}


def open_parquet(path: Path) -> Any:
    """A ``ParquetFile``; UserError names one that is cut short or something else."""
    try:
        return parquet_module().ParquetFile(path, memory_map=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cannot read {path}: {_line(error)}; expected a whole parquet file") from None


def bytes_column(file: Any) -> str:
    """Dotted name of the column that holds images as bytes; UserError lists the columns where there is none."""
    import pyarrow.types as types

    def is_bytes(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    schema, found = file.schema_arrow, {}
    for field in schema:
        if is_bytes(field.type):
            found[field.name] = field.name
        elif types.is_struct(field.type):
            inner = {field.type.field(i).name: field.type.field(i).type for i in range(field.type.num_fields)}
            if "bytes" in inner and is_bytes(inner["bytes"]):
                found[field.name] = f"{field.name}.bytes"
    if not found:
        raise UserError(f"no column of images (bytes and path) among: {', '.join(schema.names)}")
    named = next((name for name in IMAGES if name in found), None)
    if named is None and len(found) > 1:
        raise UserError(
            f"several columns of bytes: {', '.join(found)}; expected one, or one that is called {IMAGES[0]}"
        )
    return found[named or next(iter(found))]


def index_parquet(shards: list[Path]) -> Index:
    """The images of parquet files. Errors: UserError names a file without a column of images, or cut short."""
    rows = _Rows()
    with counting(f"{len(shards)} parquet files") as count:
        names = PackedNames(rows.read(shards, count))
    if not len(names):
        raise UserError(f"no rows in {shards[0]}; expected a column of images")
    places = np.frombuffer(rows.places, np.int64).reshape(-1, 3)
    numbers, classes = _labelled(rows.labels, rows.classes)
    if rows.all_named and _differ(names):
        order = sorted_by_parts(names, numbers)
        names, numbers, places = names.reordered(order), numbers[order], places[order]
    where = f"{len(shards):,} parquet {'file' if len(shards) == 1 else 'files'}"
    return Index(
        names, numbers, classes, f"{of_classes(len(names), classes)} in {where}", [stamp(shard) for shard in shards],
        tuple(map(str, shards)), places,
    )  # fmt: skip


class _Rows:
    """What the rows of some files hold besides images: places (three numbers a row), labels, names of classes."""

    def __init__(self):
        self.places, self.labels, self.classes, self.all_named = array("q"), Coded(), None, True

    def read(self, shards: list[Path], count: Callable[[int], None]) -> Iterator[str]:
        """The name of each row, while the rest is gathered."""
        for number, shard in enumerate(shards):
            file = open_parquet(shard)
            try:
                images = bytes_column(file)
            except UserError as error:
                raise UserError(f"{shard}: {error}") from None
            label = next((name for name in LABELS if name in file.schema_arrow.names), None)
            path, named = _path_column(file, images), _class_names(file, label)
            if self.classes and named and named != self.classes:
                raise UserError(f"{shard} has other class names than {shards[0]}; expected files of one data set")
            self.classes = self.classes or named
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                for value in _column(file, group, label, rows, shard):
                    self.labels.add((type(value), value if isinstance(value, (int, str)) else None))
                for row, name in enumerate(_column(file, group, path, rows, shard)):
                    self.places.extend((number, group, row))
                    whole = isinstance(name, str) and name != ""
                    self.all_named &= whole
                    yield name if whole else f"row {row} of group {group}"
                count(rows)


def _differ(names: PackedNames) -> bool:
    """Whether no two are equal. Numbers that stand for them are compared first, since they take less memory."""
    hashes = np.fromiter((hash(names[index]) for index in range(len(names))), np.int64, len(names))
    order = np.argsort(hashes, kind="stable")
    again = hashes[order[1:]] == hashes[order[:-1]]
    return not any(names[a] == names[b] for a, b in zip(order[1:][again], order[:-1][again]))


def _labelled(labels: Coded, names: list[str] | None) -> tuple[np.ndarray, list[str]]:
    values, codes = [value for _, value in labels.values], labels.codes
    whole = all(isinstance(value, int) for value in values)
    if names and whole and 0 <= min(values) <= max(values) < len(names):
        return np.array(values, np.int64)[codes], names
    if None in values or (whole and min(values) < 0):
        return np.zeros(len(codes), np.int64), []
    return numbered(codes, [str(int(value) if whole else value) for value in values], names=not whole)


def _column(file: Any, group: int, name: str | None, rows: int, shard: Path) -> list:
    if name is None:
        return [None] * rows
    try:
        column = file.read_row_group(group, columns=[name], use_threads=False).column(0)
    except Exception as error:
        raise UserError(f"cannot read {shard}: {_line(error)}; expected a whole parquet file") from None
    return (column.flatten()[0] if "." in name else column).to_pylist()


def _path_column(file: Any, images: str) -> str | None:
    if not images.endswith(".bytes"):
        return None
    field = file.schema_arrow.field(images.removesuffix(".bytes"))
    inner = {field.type.field(i).name for i in range(field.type.num_fields)}
    return images.removesuffix("bytes") + "path" if "path" in inner else None


def _class_names(file: Any, label: str | None) -> list[str] | None:
    """The names that Hugging Face's metadata give to the label's numbers."""
    try:
        features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]] or None
    except (KeyError, TypeError, ValueError):
        return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
