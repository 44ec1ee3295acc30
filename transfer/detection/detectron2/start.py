"""The weights that a detector starts from: the converted backbone, or what ``train.init_checkpoint`` names instead."""

import pickle
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pretrain.common.errors import UserError


def load_start(model: nn.Module, file: str, trust: bool) -> None:
    """Load what fits of ``file`` by detectron2's rules for names.

    trust: whether reading the file may run code in it, as detectron2's pickles do. Otherwise only tensors and plain
    values are read, from .pth or .safetensors. Errors: UserError.
    """
    checkpointer = DetectionCheckpointer(model) if trust else SafeCheckpointer(model)
    try:
        checkpointer.load(file)
    except (OSError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"initial weights {file} cannot be loaded: {reason}") from None


class SafeCheckpointer(DetectionCheckpointer):
    """detectron2's, but a file that is more than tensors and simple values is refused."""

    def _load_file(self, filename: str) -> dict:
        path = Path(filename)
        try:
            if path.suffix == ".safetensors":
                found = load_file(path)
            elif path.suffix in (".pth", ".pt"):
                found = torch.load(path, map_location="cpu", weights_only=True)
            else:
                raise UserError(f"initial weights {path} may run code when they are read; expected .pth or "
                                ".safetensors, or --trust")  # fmt: skip
        except pickle.UnpicklingError:
            raise UserError(f"initial weights {path} hold more than tensors and simple values, and may run code when "
                            "they are read; expected weights alone, or --trust") from None  # fmt: skip
        except (SafetensorError, EOFError, ValueError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"initial weights {path} cannot be read: {' '.join(str(error).split())[:160]}") from None
        return found if isinstance(found, dict) and "model" in found else {"model": found}
