"""One live job owns a run folder; a second writer refuses to start.

The owner writes ``.owner.json`` (host, process, SLURM job, start) and touches it every ``BEAT`` seconds. Whether the
owner of a file that is found still lives is decided by what is known best:

1. it is a former incarnation of this very SLURM job (restarted less often): the job was requeued, and takes over;
2. it ran on this host: its process is there or not (process numbers are reused, start times of processes are not);
3. it belongs to another SLURM job: squeue knows that job or not;
4. otherwise, by the age of the last beat.

An owner that finds itself replaced (its node was given up for lost, and came back) stops at its next beat.
"""

import functools
import inspect
import json
import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.common.errors import UserError

FILE_NAME = ".owner.json"
BEAT = 10.0  # seconds
STALE = 180.0  # seconds without a beat after which an owner that nothing else is known of counts as dead
FORMER = 30.0  # seconds that a former incarnation of the same job is given to end


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own ``folder`` (made if need be) for the duration. UserError if a live job owns it.

    Of the processes of a group only the main one (RANK, under srun SLURM_PROCID, is 0) owns; it may own a folder twice.
    """
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) != 0:
        yield
        return
    made = not folder.exists()
    token = take(folder)
    if token is None:
        yield
        return
    ended = threading.Event()
    threading.Thread(target=_beat, args=(folder / FILE_NAME, token, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if (read_owner(folder) or {}).get("token") == token:
            (folder / FILE_NAME).unlink(missing_ok=True)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # it failed before it made anything


def owning(argument: str) -> Callable:
    """Decorator: the function owns the folder that its ``argument`` (or an attribute of it) names, see ``owned``."""
    name, _, attribute = argument.partition(".")

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            folder = signature.bind(*args, **kwargs).arguments[name]
            with owned(Path(operator.attrgetter(attribute)(folder) if attribute else folder)):
                return function(*args, **kwargs)

        return wrapped

    return decorate


def take(folder: Path) -> str | None:
    """Become the owner of ``folder`` and return the token that says so; None if this process owns it already."""
    path, me = folder / FILE_NAME, identity()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            with open(path, "x") as file:
                json.dump(me, file)
            return me["token"]
        except FileExistsError:
            owner = read_owner(folder)
        if owner is None:  # gone meanwhile, or its writer died before the first byte
            if path.exists() and heartbeat_age(path) > STALE:
                path.unlink(missing_ok=True)
            time.sleep(0.1)
            continue
        if owner["host"] == me["host"] and owner["pid"] == me["pid"] and owner["started"] == me["started"]:
            return None
        reason = alive(owner, path, me)
        if (read_owner(folder) or {}).get("token") != owner["token"]:
            continue  # another has taken it meanwhile: that one is to be judged
        if reason:
            raise UserError(
                f"{folder} belongs to {describe(owner)}, which {reason}; wait for it, end it, or use another folder"
            )
        _remove_stale(path, owner["token"])


def identity() -> dict:
    """Who this process is."""
    return {
        "host": socket.gethostname(), "pid": os.getpid(), "started": process_start(os.getpid()),
        "job": slurm_job(), "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
        "time": time.time(), "token": uuid.uuid4().hex,
    }  # fmt: skip


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


def read_owner(folder: Path) -> dict | None:
    """What the owner of ``folder`` wrote; None without one."""
    try:
        return json.loads((Path(folder) / FILE_NAME).read_text())
    except (OSError, ValueError):
        return None


def owner_lives(folder: Path) -> bool:
    """Whether a live process owns ``folder``, as far as can be told from here."""
    owner = read_owner(folder)
    return owner is not None and bool(alive(owner, Path(folder) / FILE_NAME, {**identity(), "job": None}))


def alive(owner: dict, path: Path, me: dict) -> str | None:
    """Why ``owner`` counts as alive to ``me``, None if it is dead."""
    same_job = owner["job"] is not None and owner["job"] == me["job"]
    former = same_job and owner["restart"] < me["restart"]
    if owner["host"] == me["host"]:
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
    age = heartbeat_age(path)
    return f"gave a sign of life {age:.0f} s ago" if age < STALE else None


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


def heartbeat_age(path: Path) -> float:
    """Seconds since the last beat by the clock of the file system, which may not be this machine's."""
    probe = path.with_name(f".clock.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a folder that may only be read
        now = time.time()
    try:
        return max(0.0, now - path.stat().st_mtime)
    except OSError:
        return float("inf")


def _end_former(owner: dict) -> None:
    """Wait for the former incarnation of this job to end, then end it: SLURM has given it up."""
    deadline = time.monotonic() + FORMER
    while process_start(owner["pid"]) == owner["started"]:
        if time.monotonic() > deadline:
            os.kill(owner["pid"], signal.SIGKILL)
        time.sleep(0.2)


def _remove_stale(path: Path, token: str) -> None:
    """Remove the file of a dead owner, and no other: several processes may have found it dead, one removes it."""
    claim = path.with_name(f"{path.name}.{token}")
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:  # another is removing it, or died while it did
        if heartbeat_age(claim) > 60:
            claim.unlink(missing_ok=True)
        time.sleep(0.2)
        return
    if (read_owner(path.parent) or {}).get("token") == token:
        path.unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _beat(path: Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        owner = read_owner(path.parent)
        if owner is not None and owner["token"] != token and not ended.is_set():
            print(f"error: {path.parent} was taken over by {describe(owner)}; stopping", file=sys.stderr, flush=True)
            os._exit(1)  # from a thread, with no chance to write anything more
        try:
            os.utime(path)
        except OSError:
            return
