"""Files of weights from anywhere: the tensors that a .pth or .safetensors holds, however deep, and nothing executed."""

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from pretrain.common.errors import UserError
from pretrain.common.files import read_object
from pretrain.universal.file import KEY

HARMLESS = [Namespace]  # the arguments of a run, which many programs keep beside its weights
DEEPEST = 8  # levels of dictionaries in a checkpoint


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of ``file`` by name, and what a universal checkpoint or tools/convert.py say of their pretraining.

    A dictionary within a dictionary gives dotted names, ``state_dict.module.encoder_q.conv1.weight``: what a program
    wraps its weights in is a prefix like any other.
    Errors: UserError for a file that is missing, cannot be read without running its code, or holds no tensors.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"no such file: {file}; expected weights, .pth or .safetensors")
    try:
        if file.suffix == ".safetensors":
            with safetensors.safe_open(file, "pt") as opened:
                said = opened.metadata() or {}
            record = _record(said.get("pretraining") or said.get(KEY) or "{}")
            return load_file(file), record if isinstance(record, dict) else {}
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead an unpickler anywhere: IndexError, KeyError, AttributeError ...
        raise UserError(f"{file} cannot be read as weights: {_reason(error)}; expected .pth or .safetensors") from None
    tensors = dict(_flat(content, "", DEEPEST))
    if not tensors:
        raise UserError(f"{file} holds no state dict; expected tensors by name, as model.state_dict() gives them")
    return tensors, _described(file)


def _record(text: str) -> object:
    """What JSON says; what other programs write under the same name says nothing of ours."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in a few words; torch's own are about its options."""
    text = " ".join(str(error).split())
    if "Weights only load failed" not in text:
        return text[:120] or type(error).__name__
    code = re.search(r"GLOBAL (\S+)", text)
    return f"it holds an object of {code[1]}, which is code and not run" if code else "it is no file of torch.save"


def _flat(content: object, prefix: str, levels: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries with dotted names; what is neither is no weight."""
    if not isinstance(content, dict) or not levels:
        return
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value.detach()
        else:
            yield from _flat(value, f"{prefix}{key}.", levels - 1)


def _described(file: Path) -> dict:
    """What the JSON file beside a .pth that tools/convert.py wrote says of it; nothing for other files."""
    record = read_object(file.with_suffix(".json"))
    return record if {"mean", "std"} <= record.keys() else {}
