"""Whatever ends a job of two nodes in the middle, the run continues and ends with the bytes of an undisturbed one."""

import os
import signal
from pathlib import Path

import pytest
import torch

from pretrain.config import load_config
from pretrain.ownership import read_owner
from pretrain.train import pretrain
from tests.pretrain.processes import run_processes
from tests.requirements import requires
from tests.slurm.conftest import (
    CONFIG,
    TINY,
    digest,
    events,
    iteration,
    job_number,
    last_state,
    row,
    shell,
    until,
    wait_until_over,
)  # fmt: skip

pytestmark = requires("root", "slurm")
NAME = "us3l_resnet18_digits"


def pretrain_in_process(rank: int, work_dir: str) -> str:
    return str(pretrain(load_config(CONFIG, TINY), Path(work_dir), resume=False, device="cpu"))


@pytest.fixture(scope="module")
def undisturbed(running_cluster, tmp_path_factory, repository) -> Path:
    """The run of two processes that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    before = Path.cwd()
    os.chdir(repository)
    run_processes(pretrain_in_process, 2, str(folder))
    os.chdir(before)
    return folder


@pytest.fixture
def run(undisturbed, cluster, launch, tmp_path) -> Path:
    """A run on two nodes, in the middle."""
    folder = tmp_path / "run"
    start(launch, folder)
    until(lambda: iteration(folder) >= 10, "iteration 10")
    line = row(launch("status", folder), NAME)
    assert line[2:5] == ["running", job_number(folder), "node[1-2]"] and line[5].endswith("/60"), line
    return folder


def start(launch, folder: Path, *options) -> None:
    nodes = ("--nodes", 2, "--gpus-per-node", 0, "--partition", "main", "--cpus-per-task", 1)
    launch("pretrain", CONFIG, *nodes, "--work-dir", folder, *options, *TINY)


def ranks(folder: Path) -> dict[int, int]:
    """Process number of each rank of the run's job."""
    found, job = {}, f"SLURM_JOB_ID={job_number(folder)}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes().split(b"\0")
            if job in words and b"submitit.core._submit" in (process / "cmdline").read_bytes().split(b"\0"):
                rank = next((word for word in words if word.startswith(b"SLURM_PROCID=")), None)
                if rank is not None and b"srun" not in (process / "cmdline").read_bytes().split(b"\0")[0]:
                    found[int(rank.partition(b"=")[2])] = int(process.name)
        except OSError:
            continue
    return found


def check(folder: Path, undisturbed: Path, launch, expected: list[str]) -> None:
    """The run ends, after the ``expected`` starts and requeues, with the same bytes, and ``status`` says so."""
    assert wait_until_over(folder) == {NAME: "done"}, launch("logs", folder)
    assert events(folder) == expected
    assert digest(folder / "universal.safetensors") == digest(undisturbed / "universal.safetensors")
    theirs, ours = last_state(undisturbed), last_state(folder)
    assert all(torch.equal(theirs["model"][key], ours["model"][key]) for key in theirs["model"])
    assert "done" in row(launch("status", folder), NAME)
    assert read_owner(folder) is None


def until_requeued(folder: Path, launch, state: str = "pending") -> None:
    until(lambda: row(launch("status", folder), NAME)[2] == state, f"the state {state}")


def test_a_signal_requeues_the_job(run, undisturbed, launch):
    shell("scancel", "--signal=USR2", job_number(run))
    until_requeued(run, launch)
    assert 10 <= iteration(run) < 60
    check(run, undisturbed, launch, ["started", "requeued", "started"])


def test_a_partition_of_higher_priority_preempts_it(run, undisturbed, launch):
    intruder = shell(
        "sbatch", "--parsable", "-p", "high", "-N", "4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 8"
    )
    until_requeued(run, launch)
    assert shell("squeue", "-h", "-j", intruder.strip(), "-o", "%T").strip() in ("RUNNING", "PENDING")
    check(run, undisturbed, launch, ["started", "requeued", "started"])


def test_a_lost_node_requeues_it_elsewhere(run, undisturbed, launch):
    shell("scontrol", "update", "nodename=node1", "state=down", "reason=test")
    until(lambda: events(run) == ["started", "started"], "the second start")
    until_requeued(run, launch, "running")
    nodes = shell("squeue", "-h", "-j", job_number(run), "-o", "%N").strip()
    assert (
        "node1" not in shell("scontrol", "show", "hostnames", nodes).split()
        and nodes == row(launch("status", run), NAME)[4]
    )
    check(run, undisturbed, launch, ["started", "started"])


def test_a_killed_rank_starts_it_again(run, undisturbed, launch):
    os.kill(ranks(run)[1], signal.SIGKILL)
    until(lambda: events(run) == ["started", "started"], "the second start")
    check(run, undisturbed, launch, ["started", "started"])


def test_its_time_limit_requeues_it(undisturbed, cluster, launch, tmp_path):
    """A limit of one minute, SLURM's smallest. The processes are stopped until its signal has come, so that a run of
    seconds outlasts it without taking time from others."""
    folder = tmp_path / "run"
    start(launch, folder, "--time", 1, "--signal-delay", 30)
    until(lambda: iteration(folder) >= 10 or "requeued" in events(folder), "iteration 10 or the signal")
    if "requeued" not in events(folder):
        processes = ranks(folder)
        for process in processes.values():
            os.kill(process, signal.SIGSTOP)
        until(lambda: has_pending(processes[0], signal.SIGUSR2), "the signal")
        for process in processes.values():
            os.kill(process, signal.SIGCONT)
    until(lambda: "requeued" in events(folder), "the requeue")
    check(folder, undisturbed, launch, ["started", "requeued", "started"])


def has_pending(process: int, number: int) -> bool:
    """Whether a signal waits for a process."""
    text = Path(f"/proc/{process}/status").read_text()
    pending = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in pending)


def test_a_second_writer_is_refused_and_the_first_goes_on(run, undisturbed, repository, launch):
    from pretrain.errors import UserError

    with pytest.raises(UserError, match=rf"belongs to SLURM job {job_number(run)}, process \d+ on .* is running"):
        pretrain(load_config(CONFIG, TINY), run, resume=True, device="cpu")
    check(run, undisturbed, launch, ["started"])
