"""OpenVINO: its intermediate representation in float32 or int8, for any batch size, checked by OpenVINO itself.

resnet18.xml    the graph, with the description under ``rt_info/pretraining``
resnet18.bin    the weights, which OpenVINO looks for beside it
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size
from transfer.convert.export import check, exporting, quiet, ready, traced
from transfer.convert.int8 import SUFFIX, Int8
from transfer.runtimes.openvino import load

if TYPE_CHECKING:
    import openvino


def write(plain: nn.Module, output: Path, metadata: dict, int8: Int8 | None = None) -> list[Path]:
    """Both files: ``images`` [batch, 3, S, S] -> ``features`` [batch, channels], S of ``image_size(metadata)``.

    int8: write ``resnet18_int8.xml`` and its ``.bin``, quantised by NNCF.
    Errors: UserError for a backbone with an operator that OpenVINO lacks; RuntimeError, before anything is written, if
    it computes other features.
    """
    name, size = f"{plain.name}{SUFFIX if int8 else ''}", image_size(metadata)
    plain = ready(plain, size)
    graph, weights = output / f"{name}.xml", output / f"{name}.bin"
    with replacing(weights) as partial_weights, replacing(graph) as partial, tempfile.TemporaryDirectory() as scratch:
        # a loaded model maps its file into memory, so that each has one of its own
        stages = [Path(scratch) / stage / graph.name for stage in ("float32", "int8", "described")]
        model = exported(plain, size)
        check(plain, load(saved(model, stages[0])), size, "OpenVINO")
        if int8:
            model = quantised(model, int8)
            metadata = {**metadata, "int8": int8.judged(plain, load(saved(model, stages[1])), "OpenVINO")}
        model.set_rt_info(as_json(description(plain, metadata)), ["pretraining"])
        made = saved(model, stages[2])
        shutil.copyfile(made, partial)
        shutil.copyfile(made.with_suffix(".bin"), partial_weights)
    return [graph, weights]


def exported(plain: nn.Module, size: int) -> "openvino.Model":
    """``plain`` as OpenVINO's own model."""
    import openvino

    with exporting(plain, "OpenVINO"):
        model = openvino.convert_model(traced(plain, size, channels=image_channels(plain)))
        model.reshape([-1, image_channels(plain), size, size])
    model.inputs[0].tensor.set_names({"images"})
    model.outputs[0].tensor.set_names({"features"})
    return model


def quantised(model: "openvino.Model", int8: Int8) -> "openvino.Model":
    """Its int8 form. Weights use half of their range: x86 processors without VNNI add pairs of products in 16 bits,
    which would overflow. Biases stay: NNCF's fast correction lost more than it mended (cosine 0.87 instead of 0.96)."""
    with quiet():
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

        images = [image[None] for batch in int8.batches() for image in batch]
        settings = AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE, disable_bias_correction=True)
        return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images), advanced_parameters=settings)


def saved(model: "openvino.Model", path: Path) -> Path:
    """Write the two files at ``path`` (.xml) and beside it."""
    import openvino

    path.parent.mkdir()
    openvino.save_model(model, path, compress_to_fp16=False)
    return path
