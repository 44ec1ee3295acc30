"""Whether the owner of a run folder still lives, decided by what is known best:

1. it is a former incarnation of this very SLURM job (restarted less often): the job was requeued, and takes over;
2. it ran on this machine: its process is there or not (process numbers are reused, start times of processes are not);
   a container is a machine of its own, whatever its host name is: its process numbers mean nothing outside;
3. it belongs to another SLURM job: squeue knows that job or not;
4. otherwise, by the age of the last beat.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

BEAT = 10.0  # seconds
STALE = 180.0  # seconds without a beat after which an owner that nothing else is known of counts as dead
FORMER = 30.0  # seconds that a former incarnation of the same job is given to end
FUTURE = 5.0  # seconds by which a beat may lie in the future; more tells of a clock that was set
KEYS = {
    "host": str,
    "pid": int,
    "started": str | None,
    "job": str | None,
    "restart": int,
    "time": float | int,
    "token": str,
}


def identity() -> dict:
    """Who this process is."""
    return {
        "host": socket.gethostname(), "machine": machine(), "pid": os.getpid(), "started": process_start(os.getpid()),
        "job": slurm_job(), "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
        "time": time.time(), "token": uuid.uuid4().hex,
    }  # fmt: skip


def parent(me: dict) -> dict:
    """Who started this process, so far as ``is_me`` looks; ``me`` is this one's identity."""
    return {**me, "pid": os.getppid(), "started": process_start(os.getppid())}


def machine() -> str:
    """Where process numbers mean the same: this boot of this kernel, and its namespace of processes."""
    parts = []
    for source in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            parts.append(source().strip())
        except OSError:
            parts.append("")
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def is_identity(value: object) -> bool:
    """Whether ``value`` says who a process is."""
    return isinstance(value, dict) and all(isinstance(value.get(key, 0.5j), kind) for key, kind in KEYS.items())


def is_me(owner: dict, me: dict) -> bool:
    """Whether both are one process."""
    return on_this_machine(owner, me) and owner["pid"] == me["pid"] and owner["started"] == me["started"]


def on_this_machine(owner: dict, me: dict) -> bool:
    return owner["host"] == me["host"] and owner.get("machine", me["machine"]) == me["machine"]


def slurm_job() -> str | None:
    """The SLURM job that this process belongs to, as squeue names it."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID")


def describe(owner: dict) -> str:
    """An owner in words."""
    job = f"SLURM job {owner['job']}, " if owner["job"] else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["time"]))
    return f"{job}process {owner['pid']} on {owner['host']} since {since}"


def alive(owner: dict, path: Path, me: dict) -> str | None:
    """Why ``owner``, whose file is ``path``, counts as alive to ``me``; None if it is dead."""
    same_job = owner["job"] is not None and owner["job"] == me["job"]
    former = same_job and owner["restart"] < me["restart"]
    if on_this_machine(owner, me):
        running = process_start(owner["pid"]) == owner["started"] is not None
        if running and former:
            _end_former(owner)
            return None
        return "is running" if running else None
    if former:
        return None
    if owner["job"] is not None and not same_job:  # squeue knows of this job no more than that it runs
        state = squeue_state(owner["job"])
        if state is not None:
            return f"is {state}" if state else None
    age = sign_of_life(path)
    return None if age is None else f"gave a sign of life {age:.0f} s ago"


def process_start(pid: int) -> str | None:
    """When a process of this host started, in clock ticks since boot; None if there is none (a zombie counts as none).

    Where there is no /proc, ``unknown`` for every process that can be signalled.
    """
    stat = Path("/proc") / str(pid) / "stat"
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


def squeue_state(job: str) -> str | None:
    """``running``, ``pending``, … of a job that SLURM has not finished with; empty if it has; None if it can't say."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    if answer.returncode != 0:
        return "" if "Invalid job id" in answer.stderr else None
    return answer.stdout.strip().lower().split("\n")[0]


def sign_of_life(path: Path) -> float | None:
    """Seconds since the last beat, None if there was none for too long.

    A beat in the future is of a clock that was set since: then only another beat counts, and is waited for.
    """
    age = heartbeat_age(path)
    if age >= STALE:
        return None
    if age > -FUTURE:
        return max(0.0, age)
    print(
        f"{path} was written in the future; waiting {2.5 * BEAT:g} s for its owner to show", file=sys.stderr, flush=True
    )
    deadline = time.monotonic() + 2.5 * BEAT
    before = _written(path)
    while time.monotonic() < deadline:
        time.sleep(BEAT / 20)
        if _written(path) != before:
            return 0.0
    return None


def heartbeat_age(path: Path) -> float:
    """Seconds since the last beat by the clock of the file system, which may not be this machine's; below 0 where it
    lies in the future."""
    probe = path.with_name(f".clock.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a folder that may only be read
        now = time.time()
    written = _written(path)
    return float("inf") if written is None else now - written


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _end_former(owner: dict) -> None:
    """Wait for the former incarnation of this job to end, then end it: SLURM has given it up."""
    deadline = time.monotonic() + FORMER
    while process_start(owner["pid"]) == owner["started"]:
        if time.monotonic() > deadline:
            os.kill(owner["pid"], signal.SIGKILL)
        time.sleep(0.2)
