"""safetensors: the plain network's names in a file that is safe to load from a stranger, with its description."""

from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from pretrain.common.files import replacing
from transfer.convert.describe import as_json, description

KEY = "pretraining"


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.safetensors``; its metadata's one key ``pretraining`` is ``description`` as sorted JSON."""
    path = output / f"{plain.name}.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in plain.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {KEY: as_json(description(plain, metadata))})
    return [path]
