"""The training state that a run resumes from. What is shared with others is the universal checkpoint (universal.py).

``checkpoints/iteration_00000500.pt`` and its ``.sha256``; the last two are kept. A file counts once its checksum lies
beside it, so a crash while writing leaves the one before as the newest; a damaged file is passed over the same way.
Written by ``torch.save``, loaded with ``weights_only=True``: tensors and plain values only.
"""

import warnings
from pathlib import Path

import torch

from pretrain.common.files import file_hash, replacing, write_text

KEEP = 2


def save_checkpoint(folder: Path, iteration: int, state: dict) -> Path:
    """Write the state of ``iteration`` iterations done, atomically, then drop all but the last two."""
    path = folder / f"iteration_{iteration:08d}.pt"
    with replacing(path) as partial, open(partial, "wb") as file:  # torch would write a file's name into it
        torch.save({**state, "iteration": iteration}, file)
    write_text(path.with_suffix(".sha256"), f"{file_hash(path)}  {path.name}\n")
    for old in sorted(folder.glob("iteration_*.pt"))[:-KEEP]:
        old.with_suffix(".sha256").unlink(missing_ok=True)
        old.unlink()
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest file whose checksum holds; a warning for each newer one that is damaged or unfinished."""
    for path in sorted(folder.glob("iteration_*.pt"), reverse=True):
        checksum = path.with_suffix(".sha256")
        if checksum.is_file() and checksum.read_text().split()[:1] == [file_hash(path)]:
            return path
        warnings.warn(f"{path} is damaged or unfinished; trying the one before", stacklevel=2)
    return None


def load_checkpoint(path: Path, device: torch.device) -> dict:
    """The state that ``save_checkpoint`` wrote, tensors on ``device``."""
    return torch.load(path, map_location=device, weights_only=True)
