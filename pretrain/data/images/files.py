"""Labelled image files, their names packed into one array.

A million paths as Python objects take some 200 MB, and every worker process comes to hold a copy of its own, because
reading an object changes its reference count. One array of bytes takes a quarter of that and is shared.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pretrain.common.errors import UserError
from pretrain.data.images.encoded import EncodedImages, readable

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")


class PackedNames:
    """A sequence of texts as one array of bytes and their ends: ``names[i]``, ``len(names)``."""

    def __init__(self, names: Iterable[str]):
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self.bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    @classmethod
    def of(cls, encoded: np.ndarray, ends: np.ndarray) -> "PackedNames":
        """From the two arrays of another one."""
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


class ImageFiles(EncodedImages):
    """Files below ``root`` by their relative ``names`` with labels; an item is (uint8 [3, H, W] in RGB, label)."""

    def __init__(self, root: Path, names: Iterable[str], labels: list[int], classes: list[str]):
        super().__init__(labels, classes)
        self.root, self.names = Path(root), PackedNames(names)

    def name(self, index: int) -> str:
        return str(self.root / self.names[index])

    def encoded(self, index: int) -> bytes:
        return (self.root / self.names[index]).read_bytes()

    def identity(self) -> Iterator[bytes]:
        yield self.names.bytes.tobytes()
        yield self.names.ends.tobytes()
        for index in range(len(self)):
            with readable(self.name(index)):
                found = (self.root / self.names[index]).stat()
            yield b"%d %d\n" % (found.st_size, found.st_mtime_ns)


class FolderImages(ImageFiles):
    """``folder/<class>/**/*.jpg``; classes are the sorted sub-folders, files are sorted, so every machine agrees."""

    def __init__(self, folder: Path):
        classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
        found = [
            (path.relative_to(folder).as_posix(), label)
            for label, name in enumerate(classes)
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in EXTENSIONS
        ]
        if not found:
            raise UserError(f"no images below {folder}; expected {folder}/<class>/*.jpg or .png")
        super().__init__(folder, (name for name, _ in found), [label for _, label in found], classes)
