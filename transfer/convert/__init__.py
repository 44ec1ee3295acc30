"""A plain backbone of one width as the file that another program reads. One module per target."""

import importlib
from pathlib import Path

from torch import nn

from pretrain.common.errors import UserError, nearest
from transfer.convert.describe import of_width
from transfer.convert.fold import fold_batch_norms

TARGETS = ("detectron2", "mmdet", "torchvision", "timm", "safetensors", "onnx")
FOLDABLE = ("torchvision", "safetensors", "onnx")
__all__ = ["FOLDABLE", "TARGETS", "convert", "of_width"]


def convert(plain: nn.Module, target: str, output: Path, metadata: dict, fold_bn: bool = False) -> list[Path]:
    """Write ``plain`` for ``target`` into the folder ``output`` and return the paths, the main file first.

    metadata: ``of_width(net, width)``, or a universal checkpoint's alone (``mean`` and ``std`` of RGB images in
    [0, 1]), which leaves the width and the checkpoint's hash unsaid. fold_bn: fold batch norms into convolutions.
    Errors: UserError for an unknown target, or a backbone that the target cannot say; nothing is written then.

    Example::

        net = load_universal("runs/demo/pretrain/universal.safetensors")
        convert(net.extract(0.5), "detectron2", Path("narrow"), of_width(net, 0.5))
    """
    if target not in TARGETS:
        raise UserError(f"unknown target '{target}'{nearest(target, TARGETS)}")
    if fold_bn:
        if target not in FOLDABLE:
            raise UserError(f"{target} builds a network with batch norms, to train on; fold for {list_of(FOLDABLE)}")
        plain, metadata = fold_batch_norms(plain), {**metadata, "folded_bn": True}
    module = importlib.import_module(f"transfer.convert.{target}")
    return module.write(plain, Path(output), metadata)


def list_of(names: tuple[str, ...]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
