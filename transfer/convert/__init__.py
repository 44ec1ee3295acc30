"""A plain backbone of one width as the file that another program reads. One module per target."""

import importlib
from pathlib import Path

from torch import nn

from pretrain.errors import UserError, nearest

TARGETS = ("detectron2", "torchvision", "safetensors")


def convert(plain: nn.Module, target: str, output: Path, metadata: dict) -> list[Path]:
    """Write ``plain`` for ``target`` into the folder ``output`` and return the paths, the main file first.

    metadata: of the universal checkpoint (``mean`` and ``std`` of RGB images in [0, 1]).
    Errors: UserError for an unknown target, or a backbone that the target cannot say.

    Example::

        net = load_universal("runs/demo/pretrain/universal.safetensors")
        convert(net.extract(0.5), "detectron2", Path("narrow"), net.metadata)
    """
    if target not in TARGETS:
        raise UserError(f"unknown target '{target}'{nearest(target, TARGETS)}")
    module = importlib.import_module(f"transfer.convert.{target}")
    return module.write(plain, Path(output), metadata)
