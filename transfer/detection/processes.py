"""Processes that somebody else has started for one training: torchrun, or SLURM with one task for each GPU."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pretrain.common.errors import UserError


@dataclass(frozen=True)
class Member:
    """This process among ``size``, of which ``local_size`` run on its machine; the first one listens at ``address``."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str


def membership(environment: Mapping[str, str] = os.environ) -> Member | None:
    """What torchrun's or srun's variables say; None for a process on its own.

    Errors: UserError for SLURM tasks that are spread unevenly over the nodes, or variables that don't fit together.
    """
    try:
        if int(environment.get("WORLD_SIZE", 1)) > 1:
            return from_torchrun(environment)
        # srun sets SLURM_STEP_ID; the script of an sbatch job runs once, whatever number of tasks the job has.
        if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in environment:
            return from_slurm(environment)
    except (KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the variables of torchrun or SLURM are incomplete: {error}") from None
    return None


def from_torchrun(environment: Mapping[str, str]) -> Member:
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local_rank = int(environment.get("LOCAL_RANK", 0))
    local_size = int(environment.get("LOCAL_WORLD_SIZE", size))
    return Member(rank, size, local_rank, local_size, f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}")


def from_slurm(environment: Mapping[str, str]) -> Member:
    size = int(environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"]))
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_TASKS_PER_NODE", str(size)))
    counts = {int(part.partition("(")[0]) for part in tasks.split(",")}  # "2(x3)": two on each of three nodes
    if len(counts) > 1:
        raise UserError(f"SLURM spreads {size} tasks unevenly over the nodes ({tasks}); expected as many on each")
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", "127.0.0.1"))
    address = environment.get("MASTER_ADDR", first_host(nodes))
    job, step = int(environment.get("SLURM_JOB_ID", 0)), int(environment.get("SLURM_STEP_ID", 0))
    port = environment.get("MASTER_PORT", 20_000 + (10 * job + step) % 10_000)
    rank, local_rank = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    return Member(rank, size, local_rank, counts.pop(), f"{address}:{port}")


def first_host(nodes: str) -> str:
    """
    >>> first_host("gpu[03-05,7],big1"), first_host("node1")
    ('gpu03', 'node1')
    """
    prefix, ranges, suffix = re.match(r"([^,\[]+)(?:\[([^\]]+)\])?([^,]*)", nodes).groups()
    return prefix + (re.split("[-,]", ranges)[0] if ranges else "") + suffix


def join(member: Member, device: str) -> None:
    """Join the group: nccl on GPUs, each process on one of its own, gloo on CPUs. Joining twice is joining once."""
    if dist.is_initialized():
        return
    if device == "cuda":  # a task that sees one GPU alone uses that one
        torch.cuda.set_device(member.local_rank % torch.cuda.device_count())
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"tcp://{member.address}", rank=member.rank, world_size=member.size)


def is_main_process() -> bool:
    """Whether this process writes and prints for all."""
    member = membership()
    return member is None or member.rank == 0
