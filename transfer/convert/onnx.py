"""ONNX: one file with the weights inside, for any batch size, checked with onnxruntime against torch.

By torch's exporter over ``torch.export`` (the one that is kept up; the older one over TorchScript is deprecated). Its
optimiser folds batch norms by itself where it can; ``fold_bn`` does so before the export.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing
from pretrain.plain.cost import image_channels
from transfer.convert.describe import as_json, description, image_size, require_formats

TOLERANCE = 1e-4  # of the largest feature
BATCHES = (1, 3)  # what the file is run at: a batch dimension that were fixed would fail one of them


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.onnx``: ``images`` [batch, 3, S, S] -> ``features`` [batch, channels], description inside.

    S: ``image_size(metadata)``. The metadata properties hold ``describe.description`` under ``pretraining``.
    Errors: UserError without the packages; RuntimeError, before anything is written, if onnxruntime computes other
    features at one of ``BATCHES``.
    """
    require_formats("ONNX", "onnx", "onnxscript", "onnxruntime")
    path = output / f"{plain.name}.onnx"
    size, plain = image_size(metadata), copy.deepcopy(plain).cpu().eval()
    with replacing(path) as partial:
        export(plain, partial, size, {"pretraining": as_json(description(plain, metadata))})
        check(plain, partial, size)
    return [path]


def export(plain: nn.Module, path: Path, size: int, properties: dict[str, str] | None = None) -> None:
    """Write ``plain``, on the CPU and in eval mode, for images of ``size`` pixels. properties: the file's metadata."""
    import onnx

    images = torch.zeros(2, image_channels(plain), size, size)
    try:
        with quiet():
            program = torch.onnx.export(
                plain, (images,), input_names=["images"], output_names=["features"], dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"torch could not export {type(plain).__name__}: {str(error).splitlines()[0]}") from error
    model = program.model_proto
    onnx.helper.set_model_props(model, properties or {})
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter tells its steps and what its own parts deprecate; neither is for the user of a converter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def session(path: Path, threads: int = 0, providers: tuple[str, ...] = ("CPUExecutionProvider",)):
    """An onnxruntime session on ``path``. threads: 0 lets onnxruntime choose."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # threads that wait sleep: spinning takes cores from whatever runs beside or next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=list(providers))


@torch.no_grad()
def check(plain: nn.Module, path: Path, size: int) -> float:
    """The largest difference from torch at ``BATCHES``; RuntimeError beyond ``TOLERANCE`` or for another shape."""
    runner, worst = session(path), 0.0
    for batch in BATCHES:
        images = torch.randn(batch, image_channels(plain), size, size, generator=torch.Generator().manual_seed(batch))
        expected = plain(images)
        found = torch.from_numpy(runner.run(["features"], {"images": images.numpy()})[0])
        if found.shape != expected.shape:
            raise RuntimeError(
                f"onnxruntime gives {tuple(found.shape)}, torch {tuple(expected.shape)}; nothing written"
            )
        difference = float((found - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"onnxruntime's features differ by {difference:.3g} of the largest; nothing was written")
        worst = max(worst, difference)
    return worst
