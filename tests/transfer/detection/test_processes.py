"""Processes that SLURM or torchrun have started."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from tests.requirements import requires
from transfer.detection.processes import Member, first_host, is_main_process, membership

TASK = {
    "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "12345",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_NODELIST": "gpu[03,07]",
}  # fmt: skip


def test_a_process_on_its_own_belongs_to_no_group():
    assert membership({}) is None and membership({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}) is None


def test_a_batch_script_is_no_task():
    assert membership({name: value for name, value in TASK.items() if name != "SLURM_STEP_ID"}) is None


def test_srun_says_rank_and_size_and_the_first_node_listens():
    member = membership(TASK)
    assert (member.rank, member.size, member.local_rank, member.local_size) == (3, 4, 1, 2)
    host, port = member.address.split(":")
    assert host == "gpu03" and 20_000 <= int(port) < 30_000
    assert membership({**TASK, "SLURM_PROCID": "0"}).address == member.address
    assert membership({**TASK, "SLURM_STEP_ID": "1"}).address != member.address
    assert membership({**TASK, "MASTER_ADDR": "a", "MASTER_PORT": "7"}).address == "a:7"


def test_torchrun_says_the_same():
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}
    assert membership(variables) == Member(1, 2, 1, 2, "host:29500")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("node1", "node1"), ("gpu[03-05,07]", "gpu03"), ("a[1,3]-ib,b2", "a1-ib"), ("x1,x2", "x1"), ("n[9-11]", "n9")],
)
def test_the_first_of_slurms_nodes(nodes, host):
    assert first_host(nodes) == host


def test_what_cannot_work_is_one_line():
    with pytest.raises(UserError, match="unevenly over the nodes"):
        membership({**TASK, "SLURM_STEP_TASKS_PER_NODE": "3,1"})
    with pytest.raises(UserError, match="incomplete: 'SLURM_PROCID'"):
        membership({name: value for name, value in TASK.items() if name != "SLURM_PROCID"})


def test_the_first_process_writes_and_prints(monkeypatch):
    assert is_main_process()
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    assert not is_main_process()


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
    assert printed[0][0].splitlines()[-1].endswith("width_0.5/result.json") and printed[1][0] == ""
    record = json.loads(Path(printed[0][0].splitlines()[-1]).read_text())
    assert (record["details"]["processes"], record["details"]["batch"]) == (2, 2)
