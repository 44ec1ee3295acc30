"""ExecuTorch: a program whose convolutions run in XNNPACK, checked by ExecuTorch itself.

resnet18.pte     program and weights
resnet18.json    the description
"""

from pathlib import Path

from torch import nn

from pretrain.common.files import replacing
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, ready, traced
from transfer.runtimes.executorch import BATCH_MAX, load


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """Both files; the program takes [batch, 3, S, S], 1 to ``BATCH_MAX`` images, and gives [batch, channels].

    Errors: UserError for a backbone with an operator that ExecuTorch lacks; RuntimeError, before anything is written,
    if it computes other features.
    """
    path, beside, size = output / f"{plain.name}.pte", output / f"{plain.name}.json", image_size(metadata)
    plain = ready(plain, size)
    with replacing(beside) as partial_beside, replacing(path) as partial:
        export(plain, partial, size)
        check(plain, load(partial), size, "ExecuTorch")
        partial_beside.write_text(as_json(description(plain, metadata), indent=2) + "\n")
    return [path, beside]


def export(plain: nn.Module, path: Path, size: int) -> None:
    """Write the program."""
    with exporting(plain, "ExecuTorch"):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = to_edge_transform_and_lower(traced(plain, size, BATCH_MAX), partitioner=[XnnpackPartitioner()])
        content = program.to_executorch().buffer
    path.write_bytes(content)
