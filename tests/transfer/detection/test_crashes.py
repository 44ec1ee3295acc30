"""SIGKILL while a detector is trained: ``--resume`` ends with the weights and results of an undisturbed training."""

import pytest

from tests.crashes import crash, files, results
from tests.pretrain.helpers import universal
from tests.requirements import requires


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return universal(base_channels=16).save(tmp_path_factory.mktemp("run") / "universal.safetensors")


@pytest.mark.parametrize(
    ("framework", "config", "loaded"),
    [
        pytest.param(
            "detectron2", "configs/transfer/mask_rcnn_fpn_digits.py",
            ("transfer.detection.detectron2.training",), marks=requires("detection"),
        ),
        pytest.param(
            "mmdet", "configs/transfer/mmdet/mask_rcnn_fpn_small.py",
            ("transfer.detection.mmdet.training", "mmdet.models"), marks=requires("detection", "mmdet"),
        ),
    ],
)  # fmt: skip
def test_detection(framework, config, loaded, checkpoint, scenes, tmp_path):
    def command(name):
        return [
            "coco", "--checkpoint", checkpoint, "--data", scenes, "--framework", framework, "--config", config,
            "--width", 0.5, "--iterations", 2, "--image-size", 64, "--batch", 2, "--device", "cpu", "--resume",
            "--output", tmp_path / name,
        ]  # fmt: skip

    crash("transfer.command", command("whole"), command("killed"), loaded)
    assert results(tmp_path / "whole") == results(tmp_path / "killed") != {}
    whole, killed = (final(tmp_path / name) for name in ("whole", "killed"))
    assert whole == killed, "the same weights"


def final(folder) -> bytes:
    files(folder)
    [path] = folder.rglob("model_final.pth")
    return path.read_bytes()
