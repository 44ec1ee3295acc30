"""tools/transfer.py coco as a user meets it."""

import json
from pathlib import Path

import pytest
import torch

from tests.pretrain.helpers import universal
from tests.programs import tool
from tests.requirements import requires
from tests.transfer.detection.conftest import run_of
from transfer.convert import convert
from transfer.detection.command import metrics_line

RECORD = {
    "width": 0.5, "method": "us3l", "seconds": 61.2, "details": {},
    "metrics": {
        "box/AP": 38.31, "box/AP50": 59.0, "box/AP75": None, "mask/AP": 1.0, "mask/AP50": 2.0, "mask/AP75": 3.0,
    },
}  # fmt: skip


@pytest.fixture
def transfer(source, tmp_path):
    checkpoint = source.net.save(tmp_path / "run/universal.safetensors")

    def run(*arguments):
        return tool("transfer", "coco", "--checkpoint", checkpoint, *arguments)

    return run


def test_a_result_is_one_line():
    line = metrics_line(RECORD)
    assert line == "width 0.5 (us3l): box AP 38.31 AP50 59.00 AP75 -, mask AP 1.00 AP50 2.00 AP75 3.00 in 61 s"
    boxes = {name: value for name, value in RECORD["metrics"].items() if name.startswith("box/")}
    assert metrics_line({**RECORD, "metrics": boxes}) == "width 0.5 (us3l): box AP 38.31 AP50 59.00 AP75 - in 61 s"


@pytest.mark.parametrize("framework, recipe", [
    pytest.param("detectron2", "mask_rcnn_fpn_digits.py", marks=requires("detection")),
    pytest.param("mmdet", "mmdet/mask_rcnn_fpn_small.py", marks=requires("mmdet")),
])  # fmt: skip
def test_a_plan_by_stage_carries_a_detector_like_a_width(framework, recipe, repository, scenes, tmp_path):
    net, plan = universal(base_channels=32, widths=()), "r18-8.16.64.80"
    net.calibrate([torch.randn(4, 3, 32, 32)], [net.width(plan)])
    options = ["--framework", framework, "--config", repository / "configs/transfer" / recipe, "--image-size", 64]
    done = tool(
        "transfer", "coco", "--checkpoint", net.save(tmp_path / "run/universal.safetensors"), "--width", plan,
        "--data", scenes, "--iterations", 1, *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    assert f"width_{plan}" in done.stdout.splitlines()[-1]
    assert (record["method"], record["details"]["plan"]) == ("us3l by stage", plan)
    assert record["params"] == net.cost(net.width(plan)).params
    assert f"width {plan} (us3l by stage)" in done.stdout


@requires("detection", "data")
def test_voc_from_weights_of_any_origin(repository, real_data, source, tmp_path):
    """Without a universal checkpoint: the label comes from the file, the width from its channels."""
    weights, _ = convert(source.net.extract(0.5), "torchvision", tmp_path, source.net.metadata)
    weights = weights.rename(tmp_path / "moco.pth")
    recipe = repository / "configs/transfer/faster_rcnn_fpn_small.py"
    options = ["--config", recipe, "--image-size", 64, "--iterations", 2]
    done = tool("transfer", "voc", "--weights", weights, "--data", real_data / "voc_mini", *options)
    assert done.returncode == 0, done.stderr
    path = run_of(tmp_path / "transfer/voc_mini/detection/width_0.25_moco") / "result.json"
    assert done.stdout.splitlines()[-1] == str(path)
    record = json.loads(path.read_text())
    assert (record["method"], record["width"], record["dataset"]) == ("moco", 0.25, "voc_mini")
    assert record["details"]["train_images"] == 47 and record["details"]["recipe"] == "faster_rcnn_fpn_small.py"
    assert "iterations  2 (as asked)" in done.stdout and (path.parent / "predictions/000724.jpg").is_file()


@requires("detection", "data")
def test_real_photographs_with_overrides_behind_the_widths(transfer, repository, real_data, tmp_path):
    done = transfer(
        "--data", real_data / "coco_mini", "--image-size", 64, "--iterations", 2, "--batch", 2, "--output", tmp_path,
        "--config", repository / "configs/transfer/mask_rcnn_fpn_small.py", "--width", 0.5,
        "dataloader.train.num_workers=0", "dataloader.test.num_workers=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = run_of(tmp_path / "coco_mini/detection/width_0.5") / "result.json"
    assert done.stdout.splitlines()[-1] == str(path)
    record = json.loads(path.read_text())
    assert record["details"]["classes"] == 80 and record["details"]["overrides"][0] == "dataloader.train.num_workers=0"
    assert record["metrics"]["box/AP"] == pytest.approx(0, abs=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "/nowhere", "--width", 0.5), "/nowhere holds no COCO data"),
        (("--width", "half"), "'half' is no width and no plan of resnet18"),
        (("--weights", "/nowhere.pth"), "--weights beside --checkpoint or --init; expected one of them"),
        (("--weights-name", "moco", "--width", 0.5), "--weights-name without --weights"),
        (("--batch", 0, "--width", 0.5), "batch is 0; expected a number from 1"),
        ((), "no width given; expected --width"),
    ],
)
@requires("detection")
def test_a_mistake_gets_one_line_and_exit_code_2(transfer, arguments, message):
    done = transfer(*arguments)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
