"""The training state that a run resumes from. What is shared with others is the universal checkpoint (universal/).

``checkpoints/iteration_00000500.pt`` and its ``.sha256``, which is there first; the two newest whole ones are kept. A
file counts if its checksum holds, so a damaged one is passed over, and never takes the place of one that is whole.
Written by ``torch.save``, loaded with ``weights_only=True``: tensors and simple values only.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash, replacing, save_tensors, write_text

KEEP = 2
NAME = re.compile(r"iteration_\d{8,}\.pt")


def save_checkpoint(folder: Path, iteration: int, state: dict) -> Path:
    """Write the state of ``iteration`` iterations done, atomically, then drop all but the two newest whole ones.

    Errors: UserError where the folder cannot be written, e.g. a full disk; nothing partial is left.
    """
    path = folder / f"iteration_{iteration:08d}.pt"
    with replacing(path) as partial:
        save_tensors({**state, "iteration": iteration}, partial)
        write_text(_checksum(path), f"{file_hash(partial)}  {path.name}\n")
    _keep_newest(folder, path)
    return path


def _keep_newest(folder: Path, written: Path) -> None:
    """Drop what is older than the newest ``KEEP`` whole files, and damaged or later ones: a run that writes
    ``written`` has found nothing later that is whole."""
    kept = 1
    for path in _checkpoints(folder):
        if path == written:
            continue
        if path.name < written.name and kept < KEEP and is_whole(path):
            kept += 1
            continue
        path.unlink()
    names = {path.stem for path in _checkpoints(folder)}
    for checksum in folder.glob("iteration_*.sha256"):
        if checksum.stem not in names:
            checksum.unlink()


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole file, None without one; a warning for each newer one that is damaged."""
    for path in _checkpoints(folder):
        if is_whole(path):
            return path
        warnings.warn(f"{path} is damaged or unfinished; trying the one before", stacklevel=2)
    return None


def resumable_checkpoint(folder: Path) -> Path | None:
    """``newest_checkpoint``, but UserError if there are only damaged ones: starting anew would lose what they tell."""
    found = newest_checkpoint(folder)
    if found is None and (damaged := _checkpoints(folder)):
        raise UserError(
            f"all {len(damaged)} checkpoints in {folder} are damaged; expected one whose .sha256 holds. "
            "Bring one back, or move the folder away to start anew"
        )
    return found


def is_whole(path: Path) -> bool:
    """Whether the file's checksum is there and holds."""
    try:
        return _checksum(path).read_bytes().split()[:1] == [file_hash(path).encode()]
    except OSError:
        return False


def load_checkpoint(path: Path, device: torch.device, fields: Mapping[str, type] = {}) -> dict:
    """The state that ``save_checkpoint`` wrote, tensors on ``device``; nothing in the file is run.

    fields: what it must hold besides its iteration, by name, dotted where one is within another.
    Errors: UserError for a file that holds anything else, whatever its checksum says.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # crafted bytes lead an unpickler anywhere
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}") from None
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no state of a training; expected what a run of this program saved")
    check_fields(state, path, {"iteration": int, **fields})
    return state


def check_fields(state: dict, path: Path, fields: Mapping[str, type]) -> None:
    """UserError that names ``path`` unless its ``state`` has all ``fields``, see ``load_checkpoint``."""
    for name, kind in fields.items():
        found = state
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, kind) or (kind is int and (isinstance(found, bool) or found < 0)):
            raise UserError(
                f"{path} holds no whole state of such a training: it has no '{name}', or one of another kind"
            )


@contextmanager
def understood(what: str | Path) -> Iterator[None]:
    """UserError that names ``what``, a file or a part of one, where the block trips over what it holds."""
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{what} does not hold what it should: {type(error).__name__}: {reason}") from None


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted((path for path in folder.glob("iteration_*.pt") if NAME.fullmatch(path.name)), reverse=True)


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")
