"""OpenVINO: its intermediate representation in float32, for any batch size, checked by OpenVINO itself.

resnet18.xml    the graph, with the description under ``rt_info/pretraining``
resnet18.bin    the weights, which OpenVINO looks for beside it
"""

import shutil
import tempfile
from pathlib import Path

from torch import nn

from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, ready, traced
from transfer.runtimes.openvino import load


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """Both files: ``images`` [batch, 3, S, S] -> ``features`` [batch, channels], S of ``image_size(metadata)``.

    Errors: UserError for a backbone with an operator that OpenVINO lacks; RuntimeError, before anything is written, if
    it computes other features.
    """
    name, size = plain.name, image_size(metadata)
    plain = ready(plain, size)
    graph, weights = output / f"{name}.xml", output / f"{name}.bin"
    with replacing(weights) as partial_weights, replacing(graph) as partial, tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / graph.name
        export(plain, made, size, as_json(description(plain, metadata)))
        check(plain, load(made), size, "OpenVINO")
        shutil.copyfile(made, partial)
        shutil.copyfile(made.with_suffix(".bin"), partial_weights)
    return [graph, weights]


def export(plain: nn.Module, path: Path, size: int, said: str) -> None:
    """Write the two files at ``path`` (.xml) and beside it. said: the description."""
    import openvino

    with exporting(plain, "OpenVINO"):
        model = openvino.convert_model(traced(plain, size))
        model.reshape([-1, image_channels(plain), size, size])
    model.inputs[0].tensor.set_names({"images"})
    model.outputs[0].tensor.set_names({"features"})
    model.set_rt_info(said, ["pretraining"])
    openvino.save_model(model, path, compress_to_fp16=False)
