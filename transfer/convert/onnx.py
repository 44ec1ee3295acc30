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
from transfer.convert.export import check, exporting, ready
from transfer.runtimes.onnxruntime import load


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.onnx``: ``images`` [batch, 3, S, S] -> ``features`` [batch, channels], description inside.

    S: ``image_size(metadata)``. The metadata properties hold ``describe.description`` under ``pretraining``.
    Errors: RuntimeError, before anything is written, if onnxruntime computes other features.
    """
    path, size, name = output / f"{plain.name}.onnx", image_size(metadata), "onnxruntime"
    plain = ready(plain, size)
    with replacing(path) as partial:
        export(plain, partial, size, {"pretraining": as_json(description(plain, metadata))})
        check(plain, load(partial), size, name)
    return [path]


def export(plain: nn.Module, path: Path, size: int, properties: dict[str, str]) -> None:
    """Write ``plain``, on the CPU and in eval mode, for images of ``size`` pixels. properties: the file's metadata."""
    import onnx

    images = torch.zeros(2, image_channels(plain), size, size)
    with exporting(plain, "ONNX"):
        program = torch.onnx.export(
            plain, (images,), input_names=["images"], output_names=["features"], dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    model = program.model_proto
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)
