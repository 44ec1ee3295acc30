"""A plain backbone of one width as the file that another program reads: a module and a line in ``FORMATS`` for each."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.common.errors import UserError, nearest
from transfer.convert.describe import of_width

if TYPE_CHECKING:
    from torch import nn

# format, which transfer/convert/<format>.py writes -> whether batch norms may be folded into the convolutions
FORMATS = {
    "detectron2": False, "mmdet": False, "torchvision": True, "timm": False, "safetensors": True, "onnx": True,
}  # fmt: skip
ANY_CHANNELS = ("safetensors", "onnx")  # formats of networks whose images need not be RGB
__all__ = ["FORMATS", "convert", "of_width"]


def convert(plain: "nn.Module", form: str, output: Path, metadata: dict, fold_bn: bool = False) -> list[Path]:
    """Write ``plain`` as ``form``, one of ``FORMATS``, into the folder ``output``; the paths, the main file first.

    metadata: ``of_width(net, width)``, or a universal checkpoint's alone (``mean`` and ``std`` of RGB images in
    [0, 1]), which leaves the width and the checkpoint's hash unsaid. fold_bn: fold batch norms into convolutions.
    Errors: UserError for an unknown format, or a backbone that the format cannot say; nothing is written then.

    Example::

        net = load_universal("runs/demo/pretrain/universal.safetensors")
        convert(net.extract(0.5), "detectron2", Path("narrow"), of_width(net, 0.5))
    """
    if form not in FORMATS:
        raise UserError(f"unknown format '{form}'{nearest(form, FORMATS)}")
    from pretrain.plain.cost import image_channels

    if image_channels(plain) != 3 and form not in ANY_CHANNELS:
        raise UserError(
            f"{form}'s networks take RGB images, this one takes {image_channels(plain)} channels; "
            f"expected {' or '.join(ANY_CHANNELS)}"
        )
    if fold_bn:
        if not FORMATS[form]:
            *some, last = [name for name, folds in FORMATS.items() if folds]
            raise UserError(
                f"{form} builds a network with batch norms, to train on; fold for {', '.join(some)} or {last}"
            )
        from transfer.convert.fold import fold_batch_norms

        plain, metadata = fold_batch_norms(plain), {**metadata, "folded_bn": True}
    module = importlib.import_module(f"transfer.convert.{form}")
    return module.write(plain, Path(output), metadata)
