"""A real SLURM on this machine, started once, and tiny runs for it."""

import fcntl
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pretrain.common.files import read_object
from slurm import command
from slurm.folder import read_folder, standings
from tests.requirements import demand

SCRIPT = Path(__file__).parent / "cluster.sh"
FOLDER = Path(os.environ.get("SLURM_TEST_DIR", "/tmp/us3l-slurm-test"))
CONFIG = "configs/pretrain/us3l_resnet18_digits.py"
ITERATIONS = 40
TINY = [
    f"training.iterations={ITERATIONS}", "training.batch_size=16", "training.checkpoint_interval=5",
    "training.log_interval=5", "training.threads=1", "backbone.base_channels=8", "data.images_per_class=8",
    "objective.hidden=16", "calibration.batches=1", "calibration.batch_size=16", "calibration.widths=[1.0,0.25]",
]  # fmt: skip


def shell(*arguments: str, **options) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[None]:
    """Four nodes with the partitions ``main`` and ``high``; the last worker of a test run stops it."""
    demand("root")
    demand("slurm")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "users", "w") as users, open(FOLDER / "starting", "w") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)
        # its output goes to a file: the daemons keep it open
        with open(FOLDER / "start.log", "w") as log:
            started = subprocess.run(["bash", SCRIPT, "start"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        assert started.returncode == 0, (FOLDER / "start.log").read_text()
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield
        fcntl.flock(starting, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with open(FOLDER / "stop.log", "w") as log:
            subprocess.run(["bash", SCRIPT, "stop"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)


@pytest.fixture
def cluster(running_cluster, monkeypatch) -> Iterator[None]:
    """The cluster for one test alone, empty and with all its nodes."""
    monkeypatch.setenv("SLURM_CONF", str(FOLDER / "slurm.conf"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with open(FOLDER / "test", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clear()  # a run that was killed may have left jobs
        yield
        clear()


def clear() -> None:
    """An empty queue, and every node in service."""
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    for node in shell("sinfo", "-h", "-N", "-p", "main", "-t", "down,drain", "-o", "%n").split():
        shell("scontrol", "update", f"nodename={node}", "state=resume")
    until(lambda: not shell("squeue", "-h"), "an empty queue")


@pytest.fixture
def launch(capsys, repository, monkeypatch) -> Callable[..., str]:
    """``tools/launch.py`` in this process: what it printed."""
    monkeypatch.chdir(repository)

    def run(*arguments) -> str:
        capsys.readouterr()
        command.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return run


def until(condition: Callable[[], object], what: str, seconds: float = 150) -> object:
    """Wait until ``condition()`` holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)
    return value


def wait_until_over(folder: Path, seconds: float = 200) -> dict[str, str]:
    """Wait until no job of a grid is active; the standing of each."""
    entries, _ = read_folder(folder)

    def over() -> dict[str, str] | None:
        found = standings(entries)
        time.sleep(0.3)  # an answer of squeue costs the controller something as well
        return None if any(one.active for one in found.values()) else {name: one.name for name, one in found.items()}

    return until(over, f"the jobs of {folder}", seconds)


def iteration(folder: Path) -> int:
    """The last iteration that a run has logged."""
    try:
        return int(re.findall(r'"iteration": (\d+)', (folder / "metrics.jsonl").read_text())[-1])
    except (OSError, IndexError):
        return 0


def events(folder: Path) -> list[str]:
    """The run's starts and planned requeues."""
    return re.findall(r'"event": "(started|requeued)"', (folder / "attempts.jsonl").read_text())


def job_number(folder: Path) -> str:
    return read_object(folder / "job.json")["job"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def last_state(folder: Path) -> dict:
    """The training state after the last iteration."""
    return torch.load(folder / "checkpoints" / f"iteration_{ITERATIONS:08d}.pt", weights_only=True)


def row(table: str, name: str) -> list[str]:
    """The words of a job's line in the table of ``status``."""
    lines = [line.split() for line in table.splitlines() if line.split()[:1] == [name]]
    assert len(lines) == 1, table
    return lines[0]
