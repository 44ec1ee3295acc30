"""ncnn: a graph and its weights in float32, made by pnnx and checked by ncnn itself.

    resnet18.ncnn.param    the graph: ``in0`` [3, S, S] -> ``out0`` [channels]
    resnet18.ncnn.bin      the weights
    resnet18.json          the description

ncnn's images have no batch dimension: a batch is one image after the other. pnnx reads a network that was traced by
TorchScript, the one way into it that needs no file of Python.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, ready
from transfer.runtimes.ncnn import load


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """The three files.

    Errors: UserError for a backbone with an operator that ncnn lacks; RuntimeError, before anything is written, if it
    computes other features.
    """
    name, size = plain.name, image_size(metadata)
    plain = ready(plain, size)
    graph, weights, beside = (output / f"{name}{suffix}" for suffix in (".ncnn.param", ".ncnn.bin", ".json"))
    with (
        replacing(beside) as partial_beside, replacing(weights) as partial_weights, replacing(graph) as partial,
        tempfile.TemporaryDirectory() as scratch,
    ):  # fmt: skip
        made = export(plain, Path(scratch), size)
        check(plain, load(made), size, "ncnn")
        shutil.copyfile(made, partial)
        shutil.copyfile(made.with_suffix(".bin"), partial_weights)
        partial_beside.write_text(as_json(description(plain, metadata), indent=2) + "\n")
    return [graph, weights, beside]


@torch.no_grad()
def export(plain: nn.Module, folder: Path, size: int) -> Path:
    """Write the graph and the weights into ``folder``; the graph's path."""
    import pnnx

    shape = [1, image_channels(plain), size, size]
    with exporting(plain, "ncnn"):
        torch.jit.trace(plain, torch.zeros(shape)).save(folder / "network.pt")
    command = [pnnx.EXEC_PATH, "network.pt", f"inputshape={str(shape).replace(' ', '')}f32", "fp16=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    graph = folder / "network.ncnn.param"
    if done.returncode != 0 or not graph.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"ncnn cannot say {type(plain).__name__}: pnnx ended with {done.returncode}: {last[:200]}")
    if lacking := unknown_operators(graph):
        raise UserError(
            f"ncnn cannot say {type(plain).__name__}: it has no {', '.join(lacking)}; expected a backbone without, or "
            "another format"
        )
    return graph


def unknown_operators(graph: Path) -> list[str]:
    """What pnnx left under torch's names or its own (``aten::addcmul``, ``pnnx.Expression``); ncnn's are one word.

    Each line below the magic number and the counts begins with the operator.
    """
    operators = (line.split(maxsplit=1)[0] for line in graph.read_text().splitlines()[2:] if line.strip())
    return sorted({operator for operator in operators if not operator.isidentifier()})
