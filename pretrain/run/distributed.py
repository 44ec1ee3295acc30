"""Processes: how this one belongs to a group, and the differentiable collectives of losses and norms."""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from pretrain.common.errors import UserError

TIMEOUT = timedelta(minutes=30)  # for a process that others wait for: it may calibrate, or read a slow file system


@dataclass(frozen=True)
class World:
    """This process among all: ``rank`` of ``size``, on ``device``."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def join_world(device: str) -> World:
    """Join the group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe; alone without them.

    nccl on GPUs (one per process, LOCAL_RANK), gloo on CPUs. A group that exists already is used as it is.
    Errors: UserError for more processes than GPUs.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if device == "cuda":
        local, present = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= present:
            raise UserError(f"process {local} of this machine needs a GPU of its own, but torch sees {present}")
        torch.cuda.set_device(local)
        device = f"cuda:{torch.cuda.current_device()}"
    if size > 1 and not dist.is_initialized():
        gpu = torch.device(device) if device.startswith("cuda") else None
        dist.init_process_group("nccl" if gpu else "gloo", device_id=gpu, timeout=TIMEOUT)
    return World(rank, size, torch.device(device))


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = x.clone()
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over all processes. Its gradient is the sum of the processes' gradients."""
    return _AllReduceSum.apply(x)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def all_gather(x: Tensor) -> Tensor:
    """[B, D] of each process -> [W * B, D] in rank order; ``x`` itself without a group.

    The gradient is summed over processes. If all compute the same loss on the gathered rows, each therefore gets
    W times its part, which DistributedDataParallel's mean brings back to the one-process gradient.
    """
    return _AllGather.apply(x) if dist.is_available() and dist.is_initialized() else x


def process_rank() -> int:
    """This process's rank; 0 without a group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def mean_over_processes(values: Tensor, world: World) -> Tensor:
    """``values`` averaged over all processes; what is not finite in one is not finite in all."""
    if world.size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world.size


def main_says(value: bool, world: World) -> bool:
    """``value`` of the main process, in all."""
    if world.size == 1:
        return value
    said = torch.tensor(int(value and world.is_main), device=world.device)
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


def same_in_all(value: int, world: World) -> bool:
    """Whether all processes hold the same ``value``."""
    if world.size == 1:
        return True
    ends = torch.tensor([value, -value], device=world.device)
    dist.all_reduce(ends, dist.ReduceOp.MAX)
    return bool(ends[0] == -ends[1])
