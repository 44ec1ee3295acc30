"""Processes that SLURM or torchrun have started."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.run.membership import membership
from tests.pretrain.run.test_membership import TASK
from tests.requirements import requires
from transfer.detection.processes import errors_in_one_line


@requires("detection")
def test_the_number_of_gpus_is_the_number_of_tasks(settings):
    from transfer.detection.job import on_devices

    member = membership(TASK)
    assert on_devices(settings, member).num_gpus == 4 == on_devices(replace(settings, num_gpus=2), member).num_gpus
    with pytest.raises(UserError, match="--num-gpus 3, but 4 processes were started"):
        on_devices(replace(settings, num_gpus=3), member)


@requires("detection")
@pytest.mark.parametrize(
    ("framework", "recipe"),
    [
        ("detectron2", "mask_rcnn_fpn_digits.py"),
        pytest.param("mmdet", "mmdet/mask_rcnn_fpn_small.py", marks=requires("mmdet")),
    ],
)
def test_two_slurm_tasks_train_together(framework, recipe, repository, source, scenes, tmp_path):
    """As srun starts them: two processes that find each other by SLURM's variables."""
    checkpoint = source.net.save(tmp_path / "run/universal.safetensors")
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable, str(repository / "tools/transfer.py"), "coco", "--checkpoint", str(checkpoint), "--width",
        "0.5", "--framework", framework, "--config", str(repository / "configs/transfer" / recipe),
        "--data", str(scenes), "--iterations", "2", "--image-size", "64", "--batch", "2", "--device", "cpu",
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    tasks = []
    for rank in range(2):
        task = {
            **TASK, "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
            "SLURM_STEP_TASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        tasks.append(subprocess.Popen(
            command, env={**os.environ, **task}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ))  # fmt: skip
    printed = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    assert printed[0][0].splitlines()[-1].endswith("/result.json") and printed[1][0] == ""
    record = json.loads(Path(printed[0][0].splitlines()[-1]).read_text())
    assert (record["details"]["processes"], record["details"]["batch"]) == (2, 2)


@pytest.mark.parametrize("kind", [UserError, NonFiniteLossError])
def test_an_error_of_one_of_several_processes_stays_one_line(kind):
    """torch.multiprocessing wraps it in the traceback of its process."""
    name = f"{kind.__module__}.{kind.__name__}"
    text = f"-- Process 1 terminated with the following error:\nTraceback ...\n{name}: x is wrong\n"
    with pytest.raises(kind, match="^x is wrong$"), errors_in_one_line():
        raise torch.multiprocessing.ProcessRaisedException(text, 1, 1234)
