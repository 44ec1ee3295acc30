"""safetensors: torchvision's names in a file that is safe to load from a stranger, with the checkpoint's metadata."""

import json
from pathlib import Path

from safetensors.torch import save_file

from pretrain.plain.resnet import PlainResNet
from transfer.convert.files import replacing


def write(plain: PlainResNet, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.safetensors``; the metadata's key ``pretraining`` is the checkpoint's, as sorted JSON."""
    path = output / f"resnet{plain.depth}.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"pretraining": json.dumps(metadata, sort_keys=True)})
    return [path]
