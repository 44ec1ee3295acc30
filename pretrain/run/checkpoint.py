"""The training state that a run resumes from. What is shared with others is the universal checkpoint (universal.py).

``checkpoints/iteration_00000500.pt`` and its ``.sha256``; the last two are kept. A file counts once its checksum lies
beside it, so a crash while writing leaves the one before as the newest; a damaged file is passed over the same way.
Written by ``torch.save``, loaded with ``weights_only=True``: tensors and plain values only.
"""

import hashlib
import os
import warnings
from pathlib import Path

import torch

KEEP = 2


def save_checkpoint(folder: Path, iteration: int, state: dict) -> Path:
    """Write the state of ``iteration`` iterations done, atomically, then drop all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"iteration_{iteration:08d}.pt"
    _replace(path, lambda partial: torch.save({**state, "iteration": iteration}, partial))
    digest = _digest(path)
    _replace(path.with_suffix(".sha256"), lambda partial: partial.write_text(f"{digest}  {path.name}\n"))
    for old in sorted(folder.glob("iteration_*.pt"))[:-KEEP]:
        old.with_suffix(".sha256").unlink(missing_ok=True)
        old.unlink()
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest file whose checksum holds; a warning for each newer one that is damaged or unfinished."""
    for path in sorted(folder.glob("iteration_*.pt"), reverse=True):
        checksum = path.with_suffix(".sha256")
        if checksum.is_file() and checksum.read_text().split()[:1] == [_digest(path)]:
            return path
        warnings.warn(f"{path} is damaged or unfinished; trying the one before", stacklevel=2)
    return None


def load_checkpoint(path: Path, device: torch.device) -> dict:
    """The state that ``save_checkpoint`` wrote, tensors on ``device``."""
    return torch.load(path, map_location=device, weights_only=True)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _replace(path: Path, write) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write(partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
