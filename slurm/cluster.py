"""What SLURM and this machine say: partitions, nodes, the states of jobs, file systems. Asks only, changes nothing."""

import getpass
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pretrain.common.errors import UserError, nearest

ACTIVE = (
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "RESIZING",
    "STOPPED",
    "SIGNALING",
)
# File systems of one machine; what is not listed (nfs, lustre, gpfs, beegfs, ceph, fuse, …) is taken to be shared.
LOCAL_FILE_SYSTEMS = (
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay", "aufs", "f2fs", "reiserfs", "rootfs",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """State of a job: SLURM's word for it, the nodes it has, and SLURM's reason for waiting or ending."""

    name: str
    nodes: str = ""
    reason: str = ""

    @property
    def is_active(self) -> bool:
        return self.name in ACTIVE


def ask(*command: str) -> str | None:
    """Output of a command of SLURM; None where it is missing, fails or gives no answer within half a minute."""
    if shutil.which(command[0]) is None:
        return None
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout if answer.returncode == 0 else None


def states(jobs: dict[str, str]) -> dict[str, State]:
    """States of jobs (``12`` or ``12_3``, with their SLURM names: a new cluster counts from 1 again): from squeue, then
    from sacct where there is accounting; jobs that neither knows are absent."""
    if not jobs:
        return {}
    fields = "--format=%i|%T|%N|%r|%j"
    answer = ask("squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", fields)
    found = parse_states(answer or "", jobs)
    lost = sorted({job.split("_")[0] for job in jobs if job not in found})
    if lost:
        fields = "--format=JobID,State,NodeList,Reason,JobName"
        answer = ask(
            "sacct", "--allocations", "--noheader", "--parsable2", "--array", fields, f"--jobs={','.join(lost)}"
        )
        found = {**parse_states(answer or "", jobs), **found}
    return found


def parse_states(text: str, jobs: dict[str, str]) -> dict[str, State]:
    """States of ``jobs`` in lines ``id|state|nodes|reason|name``; of several lines of a job the last one counts."""
    found = {}
    for line in text.splitlines():
        job, name, nodes, reason, title = (*line.split("|"), "", "", "", "", "")[:5]
        if job in jobs and title == jobs[job]:
            reason = "" if reason in ("None", "(null)") else reason
            found[job] = State(name.split()[0], "" if nodes == "None assigned" else nodes, reason)
    return found


def check_cluster(partition: str | None, folder: Path, nodes: int, shared: tuple[str, ...]) -> None:
    """UserError for what would make every job fail: no sbatch, an unknown partition, a folder that nodes don't see."""
    if shutil.which("sbatch") is None:
        raise UserError("no sbatch on PATH: this is no login node of a SLURM cluster; --cluster local runs jobs here")
    listed = ask("sinfo", "--noheader", "--format=%R")
    if listed is None:
        raise UserError("sinfo gives no answer: is slurmctld running, and SLURM_CONF right?")
    partitions = sorted(set(listed.split()))
    if partition is not None:
        for name in partition.split(","):
            if name not in partitions:
                raise UserError(f"no partition '{name}' on this cluster{nearest(name, partitions)}")
    chosen = [] if partition is None else [f"--partition={partition}"]
    addresses = (ask("sinfo", "--noheader", "--Node", *chosen, "--format=%n %o") or "").splitlines()
    check_shared(folder, addresses, Path("/proc/mounts").read_text(), shared)
    if partition is not None and nodes > 1:
        sizes = (ask("sinfo", "--noheader", *chosen, "--format=%D") or "").split()
        if sizes and nodes > (most := sum(int(size) for size in sizes)):
            raise UserError(f"--nodes {nodes}, but partition {partition} has {most}")


def check_shared(folder: Path, nodes: list[str], mounts: str, shared: tuple[str, ...]) -> None:
    """UserError if other machines do not see ``folder``. nodes: lines ``name address``. mounts: as /proc/mounts."""
    folder = folder.absolute()
    here = {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.gethostname().split(".")[0]}
    others = [line.split()[0] for line in nodes if line.split() and not here & {part for part in line.split()}]
    if not others or any(folder.is_relative_to(Path(path).absolute()) for path in shared):
        return
    point, kind = file_system(folder, mounts)
    if kind in LOCAL_FILE_SYSTEMS:
        raise UserError(
            f"{folder} lies on {kind} ({point}) of this machine, which {others[0]} does not see; expected a folder on "
            f"a shared file system, or --shared {folder} if this machine exports it"
        )


def file_system(folder: Path, mounts: str) -> tuple[str, str]:
    """Mount point and type of the file system that holds ``folder``, by lines of /proc/mounts."""
    best = ("/", "rootfs")
    for line in mounts.splitlines():
        _, point, kind = line.split()[:3]
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best
