"""Features of frozen networks on disk, so that nobody need look at the same images twice.

One file holds the features that one network has of one view of some images. Its name is the hash of everything that
they depend on: weights, batch-norm statistics (so also the calibration), the images, the view, normalisation.
``<hash>.npy`` holds float16 [N, D] and ``<hash>.json`` what was hashed, and a checksum. A file counts
once its json lies beside it, which is written last; what a crash leaves is never read, and a file that was damaged
later is computed anew.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash, replacing, write_json

VERSION = 1
LARGEST = torch.finfo(torch.float16).max


class Sink:
    """Takes the features of one width and view batch by batch, ``append([B, D])``, and ``finish()`` gives all of them.

    In memory, as float16 [N, D]; ``FileSink`` writes them to disk.
    """

    def __init__(self):
        self.parts: list[Tensor] = []
        self.clipped = False

    def append(self, features: Tensor) -> None:
        self.clipped |= bool(features.abs().max() > LARGEST)
        self.take(features.clamp(-LARGEST, LARGEST).half().cpu())

    def take(self, half: Tensor) -> None:
        self.parts.append(half)

    def finish(self) -> Tensor:
        return torch.cat(self.parts)


class FileSink(Sink):
    """Writes to ``file``, whose rows and columns are known from the start; ``path`` is where it then lies."""

    def __init__(self, path: Path, file: BinaryIO, shape: tuple[int, int]):
        super().__init__()
        self.path, self.file = path, file
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})

    def take(self, half: Tensor) -> None:
        self.file.write(half.numpy().astype("<f2", copy=False).tobytes())

    def finish(self) -> Tensor:
        return mapped(self.path)


class FeatureCache:
    """Features by a key of everything that they depend on. folder None: nothing is kept.

    say: takes lines for the user. options: what a person gives for another folder. ``read`` and ``written`` count
    bytes.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None] = print, options: str = "another folder"):
        self.folder, self.say = folder, say
        self.read = self.written = 0
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot keep features in {folder}: {error.strerror}; expected a folder that can be written, {options}"
            ) from None

    def path(self, key: dict) -> Path:
        text = json.dumps({"version": VERSION, **key}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.npy"

    def load(self, key: dict, shape: tuple[int, int]) -> Tensor | None:
        """float16 [N, D], mapped into memory; None if it is not there or, with a line, if it is damaged."""
        if self.folder is None:
            return None
        path = self.path(key)
        try:
            record = json.loads(path.with_suffix(".json").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            record = {}
        try:
            if record.get("sha256") == file_hash(path):
                found = mapped(path)
                if tuple(found.shape) == tuple(shape):
                    self.read += path.stat().st_size
                    return found
        except (OSError, ValueError, AttributeError):
            pass
        self.say(f"features in {path} are damaged; they are computed anew")
        return None

    @contextmanager
    def sink(self, key: dict, shape: tuple[int, int]) -> Iterator[Sink]:
        """Where to put the features of ``key``, kept when the block succeeds; in memory if the disk has no room."""
        size = 2 * shape[0] * shape[1]
        if self.folder is None:
            yield Sink()
            return
        free = shutil.disk_usage(self.folder).free
        if self.written + size > free:
            self.say(f"features of {size / 1e9:.1f} GB are not kept: {self.folder} has {free / 1e9:.1f} GB free")
            yield Sink()
            return
        self.written += size
        path = self.path(key)
        with replacing(path) as partial:
            with open(partial, "wb") as file:
                yield FileSink(path, file, shape)
            digest = file_hash(partial)
        write_json(path.with_suffix(".json"), {"key": key, "sha256": digest}, sort_keys=True)


def mapped(path: Path) -> Tensor:
    """The array of a .npy file; copy-on-write, so that nothing can change the file."""
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
