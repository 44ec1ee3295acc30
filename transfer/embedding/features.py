"""Features of photographs at several widths, part by part on the disk, so that a killed run goes on where it was."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from pretrain.common.devices import in_turn
from pretrain.common.errors import BadImageError, UserError
from pretrain.common.files import read_object, replacing, write_json, write_text
from pretrain.data.augmentation.settings import usual_interpolation
from pretrain.data.images.encoded import EncodedImages
from pretrain.slimmable.widths import Plan
from transfer.recognition.images import copied, evaluation_view, placed, shown
from transfer.source import Source

PART = 4096  # images that a killed run may have to look at again
PARTS = ".embedding-parts"  # in the output, which may hold the photographs as well


class Embeddings(NamedTuple):
    """paths: of the N images that could be read. indices: int64 [N], theirs in the data set. vectors: float32 [N, D]
    by width. unreadable: what is wrong with the others, a line each."""

    paths: list[str]
    indices: np.ndarray
    vectors: dict[float, np.ndarray]
    unreadable: list[str]


class Shown(Dataset):
    """index -> (uint8 [C, S, S] as recognition tests on it, reason why there is none)."""

    def __init__(self, images: EncodedImages, image_size: int):
        self.images, self.view = images, evaluation_view(image_size, usual_interpolation(image_size))
        self.empty = torch.zeros(images.channels, image_size, image_size, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        try:
            return self.view(self.images[index][0]), ""
        except BadImageError as error:
            return self.empty, str(error)


class Embedder:
    """``embed()`` gives the features of all images. parts: a folder for what is done, removed by ``clean()``.

    track: goes along the parts and shows progress.
    """

    def __init__(
        self, source: Source, images: EncodedImages, widths: list[float], image_size: int, parts: Path,
        devices: list[str],
        batch: int = 256, workers: int = 0, track: Callable[..., Iterable] = lambda it, **_: it,
    ):  # fmt: skip
        self.images, self.widths, self.devices, self.batch = images, widths, devices, batch
        self.shown, self.workers, self.track = Shown(images, image_size), workers, track
        self.mean, self.std = source.metadata["mean"], source.metadata["std"]
        self.copies = copied({width: placed(source.net.extract(width), devices[0]) for width in widths}, devices)
        self.named = [width.name if isinstance(width, Plan) else width for width in widths]
        digest = hashlib.sha256(json.dumps([source.net.hash, self.named, image_size, PART]).encode())
        digest.update(json.dumps([source.net.calibration_of(width) for width in widths], sort_keys=True).encode())
        for piece in images.identity():
            digest.update(piece)
        self.root, self.folder = parts, parts / digest.hexdigest()[:32]

    def claim(self, record: Path) -> None:
        """Note what a folder's features are of. UserError where ``record`` says that it is something else."""
        mine = {"features": self.folder.name, "widths": self.named, "images": len(self.images)}
        if read_object(record) not in ({}, mine):
            raise UserError(
                f"{record.parent} holds features of other images, widths or another checkpoint; "
                "expected another --output"
            )
        write_json(record, mine)

    def embed(self) -> Embeddings:
        """Features of what can be read; parts that are there are not computed again."""
        starts = range(0, len(self.images), PART)
        found = [self._part(start) for start in self.track(starts, description="images")]
        reasons = np.concatenate([part["reasons"] for part in found])
        indices = np.flatnonzero(reasons == "")
        vectors = {width: np.concatenate([part[f"{width:g}"] for part in found])[indices] for width in self.widths}
        names = [self.images.names[int(index)] for index in indices]
        return Embeddings(names, indices, vectors, [str(reason) for reason in reasons if reason])

    def _part(self, start: int) -> dict[str, np.ndarray]:
        path = self.folder / f"{start:012}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                part = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # not there, or damaged
            part = {}
        indices, names = range(start, min(start + PART, len(self.images))), {f"{width:g}" for width in self.widths}
        if part.keys() == {"reasons", *names} and all(len(array) == len(indices) for array in part.values()):
            return part
        part = self.compute(indices)
        with replacing(path) as partial:
            np.savez(partial, **part)
        return part

    @torch.no_grad()
    def compute(self, indices: range) -> dict[str, np.ndarray]:
        """A part: float vectors by width, a row for each of ``indices``, and why an image has none."""
        workers = self.workers if len(indices) > self.batch else 0
        loader = DataLoader(Subset(self.shown, indices), batch_size=self.batch, num_workers=workers)
        reasons: list[str] = []
        vectors: dict[float, list[Tensor]] = {width: [] for width in self.widths}

        def launch(loaded: tuple[Tensor, list[str]], turn: int) -> tuple[list[str], dict[float, Tensor]]:
            x = shown(loaded[0], self.devices[turn], self.mean, self.std)
            return loaded[1], {width: module(x).float() for width, module in self.copies[turn].items()}

        for said, features in in_turn(loader, launch, len(self.devices)):
            reasons += said
            for width, found in features.items():
                vectors[width].append(found.cpu())
        return {"reasons": np.array(reasons), **{f"{w:g}": torch.cat(parts).numpy() for w, parts in vectors.items()}}

    def clean(self) -> None:
        """Remove the parts, once what they hold is written elsewhere; the folder around them only if it is empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others have something in it
            self.root.rmdir()


def write_npz(found: Embeddings, path: Path) -> Path:
    """``paths`` [N], and for every width an array of its name, float32 [N, D]; no pickle."""
    with replacing(path) as partial:
        np.savez(partial, paths=np.array(found.paths), **{f"{w:g}": vectors for w, vectors in found.vectors.items()})
    return path


def write_parquet(found: Embeddings, path: Path) -> Path:
    """A row for each width and image: path, width, vector (list of float32); with plans by stage, the plan.

    Errors: UserError without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("parquet files need pyarrow; pip install pyarrow, or --format npz") from None
    columns = [("path", pa.string()), ("width", pa.float64()), ("vector", pa.list_(pa.float32()))]
    if any(isinstance(width, Plan) for width in found.vectors):
        columns.append(("plan", pa.string()))
    schema = pa.schema(columns)
    # parquet's strings are UTF-8, which names of files need not be
    paths = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in found.paths]
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for width, vectors in found.vectors.items():
            for start in range(0, len(vectors), PART):  # a list of all would end beyond 32 bits
                part = vectors[start : start + PART]
                ends = np.arange(len(part) + 1, dtype=np.int32) * part.shape[1]
                lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(part.reshape(-1)))
                row = [pa.array(paths[start : start + PART]), pa.array(np.full(len(part), width)), lists]
                plan = pa.array([width.name if isinstance(width, Plan) else None] * len(part), pa.string())
                writer.write_table(pa.table([*row, plan][: len(columns)], schema=schema))
    return path


def write_unreadable(found: Embeddings, path: Path) -> Path:
    """What could not be read, a line each."""
    return write_text(path, "".join(f"{line}\n" for line in found.unreadable))
