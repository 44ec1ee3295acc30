"""What is optional is imported where it is used: pretraining, recognition and the command lines run without it."""

import pkgutil
import subprocess
import sys

import pytest

import pretrain
import transfer

OPTIONAL = (
    "detectron2", "fvcore", "pycocotools", "mmdet", "mmcv", "cv2", "submitit", "onnx", "timm", "tensorrt", "pyarrow",
    "tifffile", "onnxscript", "onnxruntime", "openvino", "nncf", "executorch", "torchao", "ncnn", "pnnx",
    "transformers", "huggingface_hub", "wandb", "mlflow", "trackio",
)  # fmt: skip
MODULES = [
    module.name
    for package in (pretrain, transfer)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if module.name != "pretrain.slimmable.norms.fused_kernels"  # Triton's own language, imported on GPUs alone
]
# What builds on detectron2's or mmdet's classes cannot do without; the command line, which is read for --help, must.
DETECTION = [name for name in MODULES if name.startswith("transfer.detection.") and not name.endswith(".command")]
DETECTION.append("transfer.convert.channel_list_resnet")  # lies beside mmdet's configs, for mmdet alone
CORE = [name for name in MODULES if name not in DETECTION]


def importing(modules: list[str], without: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Import modules in a fresh interpreter in which others cannot be imported."""
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_everything_but_detection_can_be_imported_with_the_core_dependencies_alone():
    done = importing(CORE, without=OPTIONAL)
    assert done.returncode == 0, done.stderr


def test_pretraining_knows_nothing_of_transfer():
    done = importing([name for name in MODULES if name.startswith("pretrain.")], without=("transfer",))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["mmengine.config", "torch.utils.tensorboard"])
def test_what_we_use_of_our_dependencies_needs_no_opencv(module):
    """opencv-python comes with mmengine but wants system libraries that a bare machine does not have."""
    done = importing([module], without=("cv2",))
    assert done.returncode == 0, done.stderr
