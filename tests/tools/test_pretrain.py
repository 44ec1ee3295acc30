"""The command line of pretraining: overrides, one-line errors, exit codes."""

import json
import os
import subprocess
import sys

import pytest

from tests.programs import tool

CONFIG = "configs/pretrain/us3l_resnet18_digits.py"
TINY = [
    "training.iterations=2",
    "training.batch_size=8",
    "data.images_per_class=4",
    "backbone.base_channels=8",
    "calibration.batches=1",
]


def run(repository, *arguments) -> subprocess.CompletedProcess:
    return tool("pretrain", *arguments, cwd=repository)


def test_a_run_ends_with_the_path_of_its_checkpoint(repository, tmp_path):
    done = run(repository, CONFIG, *TINY, "--work-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"universal checkpoint: {tmp_path}/run/universal.safetensors"
    assert (tmp_path / "run/universal.safetensors").is_file()


def test_tasks_of_srun_are_one_training(repository, tmp_path):
    """Two processes with the variables that srun gives, and no others."""
    command = [
        sys.executable,
        str(repository / "tools/pretrain.py"),
        CONFIG,
        *TINY,
        "--work-dir",
        str(tmp_path / "run"),
    ]
    step = {
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost",
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            [*command, "training.log_interval=1"], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **step, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    assert "2 process(es) on cpu" in printed[0][0] and "universal checkpoint: " in printed[0][0]
    assert printed[1][0] == ""
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2]


def test_a_config_is_shown_with_what_changes_it_and_nothing_is_trained(repository, tmp_path):
    done = run(
        repository, "configs/pretrain/table7.py:case12", "training.seed=3", "--show", "--work-dir", tmp_path / "x"
    )
    assert done.returncode == 0 and not (tmp_path / "x").exists()
    assert "    aux_head=False,\n" in done.stdout and "    seed=3,\n" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([CONFIG, "training.epoch=1"], "unknown config key 'training.epoch'; did you mean 'epochs'?"),
        (["configs/pretrain/us3l_resnet18_digit.py"], "no such config"),
        (
            ["configs/pretrain/table9.py"],
            "table9.py has 4 rows; expected configs/pretrain/table9.py:ROW with one of nei",
        ),
        (["configs/pretrain/table9.py:sandwhich"], "table9.py has no row 'sandwhich'; did you mean 'sandwich'?"),
        ([CONFIG, "data.name=folder"], "expected data.root=FOLDER"),
        ([CONFIG, "--devise", "cpu"], "unrecognized arguments"),
        ([CONFIG, "training.batch_size=5000"], "a batch of 5000 images from a data set of 1437"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(repository, tmp_path, args, message):
    done = run(repository, *args, "--work-dir", tmp_path / "run")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()
