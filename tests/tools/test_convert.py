"""tools/convert.py as a user meets it."""

import pytest

from tests.pretrain.helpers import universal
from tests.programs import tool


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return universal(base_channels=8).save(tmp_path_factory.mktemp("run") / "universal.safetensors")


def test_each_width_gets_a_folder_and_the_paths_are_printed(checkpoint, tmp_path):
    done = tool("convert", checkpoint, "--widths", 1.0, 0.5, "--to", "safetensors", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [tmp_path / "width_1/resnet18.safetensors", tmp_path / "width_0.5/resnet18.safetensors"]
    assert all(path.is_file() and str(path) in done.stdout.splitlines() for path in expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--width", 0.5, "--to", "tensorrt"), "choose from 'detectron2'"),
        (("--width", 0.5, "--to", "detectron2", "--fold-bn"), "fold for torchvision, safetensors, onnx, openvino"),
        (("--width", 0.5, "--to", "timm", "--image-size", 64), "for --to onnx or openvino"),
        (("--width", 0.3, "--to", "torchvision"), "width 0.3 is not calibrated; calibrated widths: 1, 0.5"),
        (("--to", "torchvision"), "no width given"),
        (("--width", 0.5, "--to", "ncnn", "--int8"), "no int8 here; expected onnx, openvino or executorch"),
        (("--width", 0.5, "--to", "safetensors", "--data", "images"), "--data names the images of --int8"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(checkpoint, arguments, message, tmp_path):
    done = tool("convert", checkpoint, *arguments, "--output", tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and list(tmp_path.iterdir()) == []
