"""What the environment says of the processes of one training: torchrun's variables, or srun's, a task a process.

The one place that reads them. Nothing here imports torch; pretrain/run/distributed.py joins the group.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from pretrain.common.errors import UserError

PORTS = (20_000, 12_000)  # the first and how many: below the range from which connections get theirs


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
        if "RANK" in environment or "WORLD_SIZE" in environment:
            return _from_torchrun(environment) if int(environment.get("WORLD_SIZE", 1)) > 1 else None
        # srun sets SLURM_STEP_ID; the script of an sbatch job runs once, whatever number of tasks the job has.
        tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
        if int(tasks) > 1 and "SLURM_STEP_ID" in environment:
            return _from_slurm(environment, int(tasks))
    except UserError:
        raise
    except (KeyError, ValueError) as error:
        raise UserError(f"the variables of torchrun or SLURM are incomplete: {error}") from None
    return None


def is_main_process() -> bool:
    """Whether this process writes and prints for all."""
    member = membership()
    return member is None or member.rank == 0


def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _from_torchrun(environment: Mapping[str, str]) -> Member:
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local_rank = int(environment.get("LOCAL_RANK", 0))
    local_size = int(environment.get("LOCAL_WORLD_SIZE", size))
    address = f"{environment.get('MASTER_ADDR', '')}:{environment.get('MASTER_PORT', '')}"
    return Member(rank, size, local_rank, local_size, address)


def _from_slurm(environment: Mapping[str, str], size: int) -> Member:
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_TASKS_PER_NODE", str(size)))
    counts = {int(part.partition("(")[0]) for part in tasks.split(",")}  # "2(x3)": two on each of three nodes
    if len(counts) > 1:
        raise UserError(f"SLURM spreads {size} tasks unevenly over the nodes ({tasks}); expected as many on each")
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", "127.0.0.1"))
    address = environment.get("MASTER_ADDR", first_host(nodes))
    # another port for each step, and after each restart: the former incarnation's may still be taken
    turn = [int(environment.get(f"SLURM_{name}", 0)) for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT")]
    first, count = PORTS
    port = environment.get("MASTER_PORT", first + (10 * turn[0] + turn[1] + 1009 * turn[2]) % count)
    rank, local_rank = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    return Member(rank, size, local_rank, counts.pop(), f"{address}:{port}")


def first_host(nodes: str) -> str:
    """
    >>> first_host("gpu[03-05,7],big1"), first_host("rack[1-2]node[3-4]"), first_host("node1")
    ('gpu03', 'rack1node3', 'node1')
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)[0]
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first)
