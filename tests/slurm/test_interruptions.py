"""Whatever ends a job of two nodes in the middle, the run continues and ends with the bytes of an undisturbed one."""

import contextlib
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.config import load_config
from pretrain.run.ownership import read_owner
from pretrain.train import pretrain
from tests.pretrain.processes import run_processes
from tests.requirements import requires
from tests.slurm.conftest import (
    CONFIG,
    ITERATIONS,
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
)

pytestmark = requires("root", "slurm")
NAME = "us3l_resnet18_digits"


def pretrain_in_process(rank: int, config: str, work_dir: str) -> str:
    return str(pretrain(load_config(config, TINY), Path(work_dir), resume=False, device="cpu"))


@pytest.fixture(scope="module")
def undisturbed(running_cluster, tmp_path_factory, repository) -> Callable[[int], Path]:
    """The run of one or two processes that nothing disturbs."""

    @cache
    def compute(processes: int) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed")
        run_processes(pretrain_in_process, processes, str(repository / CONFIG), str(folder))
        return folder

    return compute


@pytest.fixture
def start(cluster, launch, tmp_path) -> Callable[..., Path]:
    """Start a run on some nodes and wait until it is in the middle."""

    def start_run(nodes: int, *options) -> Path:
        folder = tmp_path / "run"
        where = ("--nodes", nodes, "--gpus-per-node", 0, "--partition", "main", "--cpus-per-task", 1)
        launch("pretrain", CONFIG, *where, "--work-dir", folder, *options, *TINY)
        until(lambda: iteration(folder) >= 10, "iteration 10")
        line = row(launch("status", folder), NAME)
        names = {1: "node1", 2: "node[1-2]"}[nodes]
        assert line[2:5] == ["running", job_number(folder), names] and line[5].endswith(f"/{ITERATIONS}"), line
        return folder

    return start_run


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


def check(folder: Path, undisturbed: Path, launch, expected: list[str] | None) -> None:
    """The run ends, after the ``expected`` starts and requeues, with the same bytes, and ``status`` says so."""
    assert wait_until_over(folder) == {NAME: "done"}, launch("logs", folder)
    assert expected is None or events(folder) == expected
    assert digest(folder / "universal.safetensors") == digest(undisturbed / "universal.safetensors")
    theirs, ours = last_state(undisturbed), last_state(folder)
    assert all(torch.equal(theirs["model"][key], ours["model"][key]) for key in theirs["model"])
    assert "done" in row(launch("status", folder), NAME)
    assert read_owner(folder) is None


def until_it_is(folder: Path, launch, state: str) -> None:
    """Wait until ``status`` shows a state."""
    until(lambda: row(launch("status", folder), NAME)[2] == state, f"the state {state}")


def test_a_signal_requeues_the_job(start, undisturbed, launch):
    run = start(2)
    shell("scancel", "--signal=USR2", job_number(run))
    until_it_is(run, launch, "pending")
    assert 10 <= iteration(run) < ITERATIONS
    check(run, undisturbed(2), launch, ["started", "requeued", "started"])


def test_a_partition_of_higher_priority_preempts_it(start, undisturbed, launch):
    run = start(1)
    options = ("-p", "high", "-N", "4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5")
    intruder = shell("sbatch", "--parsable", *options).strip()
    until_it_is(run, launch, "pending")
    assert shell("squeue", "-h", "-j", intruder, "-o", "%T").strip() in ("RUNNING", "PENDING")
    check(run, undisturbed(1), launch, ["started", "requeued", "started"])


def test_a_lost_node_requeues_it(start, undisturbed, launch):
    """The node may be back at once; processes of the former start that are still there are ended."""
    run = start(2)
    shell("scontrol", "update", "nodename=node1", "state=down", "reason=test")
    until(lambda: events(run) == ["started", "started"], "the second start")
    until_it_is(run, launch, "running")
    check(run, undisturbed(2), launch, ["started", "started"])


def test_a_killed_rank_starts_it_again(start, undisturbed, launch):
    run = start(2)
    os.kill(ranks(run)[1], signal.SIGKILL)
    until(lambda: events(run) == ["started", "started"], "the second start")
    check(run, undisturbed(2), launch, ["started", "started"])


def test_its_time_limit_requeues_it(start, undisturbed, launch):
    """A limit of one minute, SLURM's smallest; SLURM may signal half a minute early. The process is stopped until the
    signal has come, so that a run of seconds outlasts it without taking time from others."""
    run = start(1, "--time", 1, "--signal-delay", 3)
    with contextlib.suppress(OSError, KeyError):  # the signal may have come already
        process = ranks(run)[0]
        os.kill(process, signal.SIGSTOP)
        until(lambda: has_pending(process, signal.SIGUSR2), "the signal")
        os.kill(process, signal.SIGCONT)
    until(lambda: "requeued" in events(run), "the requeue")
    until_it_is(run, launch, "pending")
    check(run, undisturbed(1), launch, None)


def test_a_second_writer_is_refused_and_the_first_goes_on(start, launch):
    run = start(1)
    before = iteration(run)
    with pytest.raises(UserError, match=rf"belongs to SLURM job {job_number(run)}, process \d+ on .* is running"):
        pretrain(load_config(CONFIG, TINY), run, resume=True, device="cpu")
    until(lambda: iteration(run) > before, "another iteration")


def has_pending(process: int, number: int) -> bool:
    """Whether a signal waits for a stopped process."""
    text = Path(f"/proc/{process}/status").read_text()
    pending = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in pending)
