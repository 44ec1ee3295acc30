"""safetensors: a file that is safe to load from a stranger: the backbone's own names, the checkpoint's metadata."""

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from transfer.convert.files import replacing


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.safetensors``; the metadata's key ``pretraining`` is the checkpoint's, as sorted JSON."""
    path = output / f"{plain.name}.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"pretraining": json.dumps(metadata, sort_keys=True)})
    return [path]
