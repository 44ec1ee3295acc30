"""Converted weights back into a plain module: any width, with or without folded batch norms."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.run.checkpoint import understood
from pretrain.slimmable.plans import named_plan
from transfer.convert.fold import conv_norm_pairs, replace
from transfer.convert.safetensors import KEY


def load_plain(path: str | Path) -> nn.Module:
    """The network of a ``.safetensors``, or of a ``.pth`` with its ``.json``, loaded strictly, in eval mode.

    [B, 3, H, W], normalised as the description says -> [B, channels] features.
    Errors: UserError for a file that ``tools/convert.py`` did not write, or whose width it was not told.

    Example::

        backbone = load_plain("converted/safetensors/width_0.5/resnet18.safetensors")
    """
    path = Path(path)
    with understood(path):
        record, state = read(path)
        if record.get("width") is None:
            raise UserError(f"{path} does not say its width; expected a file that tools/convert.py wrote")
        backbone = create_backbone(**record["backbone"])
        width = named_plan(backbone, record["plan"], *record["width_range"]) if "plan" in record else record["width"]
        plain = backbone.plain(backbone.channels(width)).eval()
        if record["folded_bn"]:
            fold_empty(plain)
        plain.load_state_dict(state)
        return plain


def read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """Description and tensors of a converted file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"no such file: {path}; expected a .safetensors or .pth that tools/convert.py wrote")
    beside = path.with_suffix(".json")
    if path.suffix == ".pth":
        if not beside.is_file():
            raise UserError(f"no {beside.name} beside {path}; expected the file that tools/convert.py wrote with it")
        return json.loads(beside.read_text()), torch.load(path, weights_only=True, map_location="cpu")
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise UserError(f"{path} is no converted backbone: {error}") from None
    if header is None:
        raise UserError(f"{path} is no converted backbone: a safetensors file without the key '{KEY}'")
    return json.loads(header), state


def fold_empty(plain: nn.Module) -> None:
    """Give each convolution before a batch norm a bias and take the norm away, as folding leaves them."""
    for conv_name, norm_name in conv_norm_pairs(plain):
        conv = plain.get_submodule(conv_name)
        conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
        replace(plain, norm_name, nn.Identity())
