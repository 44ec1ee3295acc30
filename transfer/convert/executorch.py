"""ExecuTorch: a program whose convolutions run in XNNPACK, in float32 or int8, checked by ExecuTorch itself.

resnet18.pte     program and weights
resnet18.json    the description
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, ready, traced
from transfer.convert.int8 import SUFFIX, Int8
from transfer.runtimes.executorch import load

PART = 8  # images that a program's memory is planned for; larger batches run in parts
OBSERVED = 64  # images at once that scales are estimated on: its histograms take as long for few


def write(plain: nn.Module, output: Path, metadata: dict, int8: Int8 | None = None) -> list[Path]:
    """Both files; the program takes [batch, 3, S, S], 1 to ``PART`` images, and gives [batch, channels].

    int8: write ``resnet18_int8.pte``, quantised as XNNPACK wants it (PT2E).
    Errors: UserError for a backbone with an operator that ExecuTorch lacks; before anything is written, RuntimeError if
    the float32 program computes other features, and UserError if the int8 one loses more than is allowed.
    """
    name, size = f"{plain.name}{SUFFIX if int8 else ''}", image_size(metadata)
    path, beside = output / f"{name}.pte", output / f"{name}.json"
    plain = ready(plain, size)
    with replacing(beside) as partial_beside, replacing(path) as partial:
        export(plain, quantised(plain, size, int8) if int8 else plain, partial, size)
        if int8:
            metadata = {**metadata, "int8": int8.judged(plain, load(partial), "ExecuTorch")}
        else:
            check(plain, load(partial), size, "ExecuTorch")
        partial_beside.write_text(as_json(description(plain, metadata), indent=2) + "\n")
    return [path, beside]


def export(plain: nn.Module, computes: nn.Module, path: Path, size: int) -> None:
    """Write the program of ``computes``: ``plain`` itself, or its int8 form."""
    with exporting(plain, "ExecuTorch"):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        graph = traced(computes, size, PART, image_channels(plain))
        content = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
    path.write_bytes(content)


def quantised(plain: nn.Module, size: int, int8: Int8) -> nn.Module:
    """Its graph with scales from the calibration's images, in the form that XNNPACK takes."""
    with exporting(plain, "ExecuTorch's int8"):
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        settings = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        quantiser = xnnpack_quantizer.XNNPACKQuantizer().set_global(settings)
        observed = prepare_pt2e(traced(plain, size, channels=image_channels(plain)).module(), quantiser)
        for images in int8.batches(OBSERVED):
            observed(torch.from_numpy(images))
        return convert_pt2e(observed)
