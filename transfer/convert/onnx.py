"""ONNX: one file with the weights inside, for any batch size, checked with onnxruntime against torch.

By torch's exporter over ``torch.export`` (the one that is kept up; the older one over TorchScript is deprecated). Its
optimiser folds batch norms by itself where it can; ``fold_bn`` does so before the export.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, quiet, ready
from transfer.convert.int8 import SUFFIX, Int8
from transfer.runtimes.onnxruntime import load


def write(plain: nn.Module, output: Path, metadata: dict, int8: Int8 | None = None) -> list[Path]:
    """``output/resnet18.onnx``: ``images`` [batch, 3, S, S] -> ``features`` [batch, channels], description inside.

    S: ``image_size(metadata)``. The metadata properties hold ``describe.description`` under ``pretraining``.
    int8: write ``resnet18_int8.onnx``, quantised by onnxruntime (QDQ).
    Errors: RuntimeError, before anything is written, if onnxruntime computes other features.
    """
    size, runtime = image_size(metadata), "onnxruntime"
    path = output / f"{plain.name}{SUFFIX if int8 else ''}.onnx"
    plain = ready(plain, size)
    with replacing(path) as partial:
        export(plain, partial, size)
        check(plain, load(partial), size, runtime)
        if int8:
            quantise(partial, int8)
            metadata = {**metadata, "int8": int8.judged(plain, load(partial), runtime)}
        describe(partial, as_json(description(plain, metadata)))
    return [path]


def export(plain: nn.Module, path: Path, size: int) -> None:
    """Write ``plain``, on the CPU and in eval mode, for images of ``size`` pixels."""
    import onnx

    images = torch.zeros(2, image_channels(plain), size, size)
    with exporting(plain, "ONNX"):
        program = torch.onnx.export(
            plain, (images,), input_names=["images"], output_names=["features"], dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    onnx.save_model(program.model_proto, path)


def quantise(path: Path, int8: Int8) -> None:
    """Replace the file by its int8 form, QDQ: scales of weights by channel."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = int8.batches()

        def get_next(self) -> dict | None:
            return next(({"images": images} for images in self.batches), None)

    with quiet():
        quantize_static(onnx.load(path), path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)


def describe(path: Path, said: str) -> None:
    """Put the description in, as the file's one property; onnx.checker's error if the file is not well formed."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"pretraining": said})
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)
