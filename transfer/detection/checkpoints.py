"""Checkpoints of a detection training, the same for all frameworks: ``checkpoints/iteration_*.pt``, as pretraining's.

Each is written in one step with its checksum beside it, holds tensors and simple values alone, and is loaded as nothing
else. What is damaged is passed over; weights that are not finite are never saved, so the last one is a good one.
"""

from pathlib import Path

import torch

from pretrain.common.errors import NonFiniteLossError
from pretrain.common.files import replacing, save_tensors
from pretrain.run.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    resumable_checkpoint,
    save_checkpoint,
    understood,
)  # fmt: skip
from pretrain.run.ownership import check_owner

FOLDER = "checkpoints"
FINAL = "model_final.pth"


def save(folder: Path, iteration: int, state: dict, title: str) -> Path:
    """Save ``state`` after so many iterations. state: ``model``, a state dict, and whatever the training needs.

    Errors: NonFiniteLossError, with the last good checkpoint, if a weight or a statistic is not finite; UserError where
    another has become the folder's owner.
    """
    check_owner(folder)
    for name, tensor in state["model"].items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NonFiniteLossError(
                f"{title}, iteration {iteration - 1}: {name} is not finite; last good checkpoint: {named(folder)}"
            )
    return save_checkpoint(folder / FOLDER, iteration, state)


def save_final(folder: Path, content: dict) -> Path:
    """Write the trained detector for the framework's own programs, in one step. UserError as above."""
    check_owner(folder)
    with replacing(folder / FINAL) as partial:
        save_tensors(content, partial)
    return folder / FINAL


def present(folder: Path) -> bool:
    """Whether there are checkpoints, whole or not."""
    return any((folder / FOLDER).glob("*.pt"))


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint, None without any. UserError if there are only damaged ones."""
    return resumable_checkpoint(folder / FOLDER)


def named(folder: Path) -> str:
    """The last good checkpoint for a message."""
    return str(newest_checkpoint(folder / FOLDER) or "none")


def load(path: Path) -> dict:
    """``model`` and whatever was saved with it; nothing in the file is run. UserError for what is no checkpoint."""
    return load_checkpoint(path, torch.device("cpu"), {"model": dict})


def load_weights(model: torch.nn.Module, state: dict) -> None:
    """Load every weight of a detector. UserError, with the first difference, where they are another detector's."""
    with understood("the checkpoint's detector"):
        model.load_state_dict(state["model"], strict=True)
