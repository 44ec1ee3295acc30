"""A plain backbone of one width as the file that another program reads: a module and a line in ``FORMATS`` for each."""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.common.errors import UserError, nearest
from transfer.convert.describe import of_width
from transfer.convert.folder import FORMAT, check_format

if TYPE_CHECKING:
    from torch import nn

    from transfer.convert.int8 import Int8


@dataclass(frozen=True)
class Format:
    """What is known of a format before its module ``transfer/convert/<format>.py`` is imported.

    reads: who reads it. folds: batch norms may be folded into the convolutions. any_channels: the images need not be
    RGB. sized: the images' side is fixed in the file. modules: optional packages that pip installs with ``extra``; a
    format whose packages need more than pip (detectron2, mmdet) checks them itself. int8: the package that quantises;
    empty where there are no eight-bit files. whole: all widths in one folder. inside: the description is inside the
    format's files, whose names no other format has, so that a folder may hold others too.
    """

    reads: str
    folds: bool = False
    any_channels: bool = False
    sized: bool = False
    extra: str = ""
    modules: tuple[str, ...] = ()
    int8: str = ""
    whole: bool = False
    inside: bool = False

    def missing(self, int8: bool = False) -> list[str]:
        """Those of ``modules``, and of ``int8`` if asked for, that are not installed."""
        needed = (*self.modules, self.int8) if int8 else self.modules
        return [module for module in needed if find_spec(module) is None]


ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {
    "detectron2": Format("detectron2: LazyConfig, weights and, where it can say them, a yaml", extra="detection"),
    "mmdet": Format("mmdet: config and weights", extra="mmdet"),
    "torchvision": Format("torchvision.models, or load_plain at other widths", folds=True),
    "timm": Format("timm", extra="formats", modules=("timm",)),
    "transformers": Format(
        "transformers: ResNetModel, or timm's file at other widths", extra="hub", modules=("transformers", "timm")
    ),
    "torchvision-detection": Format("torchvision's Faster and Mask R-CNN with a feature pyramid"),
    "hub": Format("load_universal: a folder for Hugging Face's hub, all widths with a model card", whole=True),
    "safetensors": Format("load_plain, any program that reads safetensors", folds=True, any_channels=True, inside=True),
    "onnx": Format("onnxruntime and others", True, True, True, "formats", ONNX, "onnxruntime", inside=True),
    "openvino": Format(
        "OpenVINO: CPU, GPU and NPU of Intel, Arm CPU", True, True, True, "devices", ("openvino",), "nncf", inside=True
    ),
    "executorch": Format(
        "ExecuTorch with XNNPACK: phones, x86, Arm", True, True, True, "devices", ("executorch",), "torchao"
    ),
    "ncnn": Format("ncnn: phones, Arm and x86", True, True, True, "devices", ("ncnn", "pnnx")),
}
__all__ = ["FORMATS", "Format", "convert", "of_width", "require"]


def convert(
    plain: "nn.Module", form: str, output: Path, metadata: dict, fold_bn: bool = False, int8: "Int8 | None" = None
) -> list[Path]:
    """Write ``plain`` as ``form``, one of ``FORMATS``, into the folder ``output``; the paths, the main file first.

    metadata: ``of_width(net, width)``, or a universal checkpoint's alone (``mean`` and ``std`` of RGB images in
    [0, 1]), which leaves the width and the checkpoint's hash unsaid. fold_bn: fold batch norms into convolutions.
    int8: images for an eight-bit file, in place of the one in float32.
    Errors: UserError for an unknown format, a package that is not installed, a backbone that the format cannot say, or
    a folder that holds another format's files; nothing is written then.

    Example::

        net = load_universal("runs/demo/pretrain/universal.safetensors")
        convert(net.extract(0.5), "detectron2", Path("narrow"), of_width(net, 0.5))
    """
    if form not in FORMATS:
        raise UserError(f"unknown format '{form}'{nearest(form, FORMATS)}")
    if FORMATS[form].whole:
        raise UserError(
            f"{form} holds all widths; expected transfer.convert.{form}.write, or tools/convert.py --to {form}"
        )
    from pretrain.plain.cost import image_channels

    if image_channels(plain) != 3 and not FORMATS[form].any_channels:
        known = " or ".join(name for name, described in FORMATS.items() if described.any_channels)
        raise UserError(
            f"{form}'s networks take RGB images, this one takes {image_channels(plain)} channels; expected {known}"
        )
    require(form, int8 is not None)
    if fold_bn:
        if not FORMATS[form].folds:
            *some, last = [name for name, described in FORMATS.items() if described.folds]
            raise UserError(
                f"{form} builds a network with batch norms, to train on; fold for {', '.join(some)} or {last}"
            )
        from transfer.convert.fold import fold_batch_norms

        plain, metadata = fold_batch_norms(plain), {**metadata, "folded_bn": True}
    if not FORMATS[form].inside:
        check_format(form, Path(output))
    module = importlib.import_module(f"transfer.convert.{form.replace('-', '_')}")
    return module.write(plain, Path(output), {**metadata, FORMAT: form}, *([] if int8 is None else [int8]))


def require(form: str, int8: bool = False) -> None:
    """UserError with the line for pip unless the optional packages of a format are installed, or it has no int8."""
    described = FORMATS[form]
    if int8 and not described.int8:
        *some, last = [name for name, other in FORMATS.items() if other.int8]
        raise UserError(f"{form} has no int8 here; expected {', '.join(some)} or {last}")
    if missing := described.missing(int8):
        raise UserError(
            f"{form} needs {', '.join(missing)}; expected the extra '{described.extra}': "
            f"pip install '.[{described.extra}]'"
        )


def listed() -> str:
    """A line for each format: its name, who reads it, what it needs."""
    lines = []
    for name, described in FORMATS.items():
        missing = f", not installed here: {' '.join(described.missing())}" if described.missing() else ""
        extra = f"; extra '{described.extra}'{missing}" if described.extra else ""
        lines.append(f"{name:<22}{described.reads}{'; --int8' if described.int8 else ''}{extra}")
    return "\n".join(lines)
