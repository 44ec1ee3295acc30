"""tools/transfer.py coco as a user meets it."""

import json
import subprocess
import sys

import pytest

from tests.requirements import requires
from transfer.detection.command import metrics_line

RECORD = {
    "width": 0.5, "method": "us3l", "seconds": 61.2,
    "metrics": {
        "box/AP": 38.31, "box/AP50": 59.0, "box/AP75": None, "mask/AP": 1.0, "mask/AP50": 2.0, "mask/AP75": 3.0,
    },
}  # fmt: skip


@pytest.fixture
def transfer(repository, source, tmp_path):
    checkpoint = source.net.save(tmp_path / "run/universal.safetensors")

    def run(*arguments):
        command = [sys.executable, str(repository / "tools/transfer.py"), "coco", "--checkpoint", str(checkpoint)]
        return subprocess.run([*command, *map(str, arguments)], cwd="/", capture_output=True, text=True)

    return run


def test_a_result_is_one_line():
    line = metrics_line(RECORD)
    assert line == "width 0.5 (us3l): box AP 38.31 AP50 59.00 AP75 -, mask AP 1.00 AP50 2.00 AP75 3.00 in 61 s"


@requires("detection", "data")
def test_real_photographs_with_overrides_behind_the_widths(transfer, real_data, tmp_path):
    done = transfer(
        "--data", real_data / "coco_mini", "--image-size", 64, "--iterations", 2, "--batch", 2, "--output", tmp_path,
        "--width", 0.5, "dataloader.train.num_workers=0", "dataloader.test.num_workers=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = tmp_path / "coco_mini/detection/width_0.5/result.json"
    assert done.stdout.splitlines()[-1] == str(path)
    record = json.loads(path.read_text())
    assert record["details"]["classes"] == 80 and record["details"]["overrides"][0] == "dataloader.train.num_workers=0"
    assert record["metrics"]["box/AP"] == pytest.approx(0, abs=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "/nowhere", "--width", 0.5), "/nowhere holds no COCO data"),
        (("--width", "half"), "invalid float value: 'half'"),
    ],
)
@requires("detection")
def test_a_mistake_gets_one_line_and_exit_code_2(transfer, arguments, message):
    done = transfer(*arguments)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
