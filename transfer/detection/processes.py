"""New processes on this machine for one training, where torchrun or SLURM has started none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.run.distributed import join_world
from pretrain.run.membership import Member, free_port


def join(device: str, member: Member, joined: Callable[[Member], None]) -> None:
    """Join the group as ``member``, once. joined: called when the group is there."""
    first = not dist.is_initialized()
    join_world(device, member)
    if first:
        joined(member)


def start(function: Callable[[Any], None], job: Any, size: int, device: str, joined: Callable[[Member], None]) -> None:
    """``function(job)`` in each of ``size`` processes: here if there is one, or the others exist already, else in new
    ones."""
    from torch.multiprocessing import spawn

    if dist.is_initialized() or size == 1:
        return function(job)
    with errors_in_one_line():
        spawn(run_as_member, args=(function, job, size, f"127.0.0.1:{free_port()}", device, joined), nprocs=size)


def run_as_member(
    rank: int, function: Callable[[Any], None], job: Any, size: int, address: str, device: str,
    joined: Callable[[Member], None],
) -> None:  # fmt: skip
    """One of ``size`` new processes on this machine."""
    join(device, Member(rank, size, rank, size, address), joined)
    try:
        function(job)
    finally:
        dist.destroy_process_group()


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What a user can mend stays one line, whichever of the new processes met it."""
    from torch.multiprocessing import ProcessRaisedException

    try:
        yield
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        for kind in (UserError, NonFiniteLossError):
            if f"{kind.__name__}: " in last:
                raise kind(last.split(f"{kind.__name__}: ", 1)[1]) from None
        raise


def barrier() -> None:
    """Wait for the others, if there are others."""
    if dist.is_initialized():
        dist.barrier()
