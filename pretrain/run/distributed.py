"""Processes: how this one belongs to a group, and the differentiable collectives of losses and norms."""

import inspect
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrain.common.errors import UserError
from pretrain.run.membership import Member, membership

TIMEOUT = timedelta(minutes=30)  # for a process that others wait for: it may calibrate, or read a slow file system


@dataclass(frozen=True)
class World:
    """This process in the group that it joined: ``rank`` of ``size``, on ``device``; what ``Member`` says was asked
    of a process before there was a group, or torch."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def join_world(device: str, member: Member | None = None) -> World:
    """Join the group as ``member``, by default as the environment says (pretrain/run/membership.py); alone without one.

    nccl on GPUs, each process on one of its own, gloo on CPUs. A group that exists already is used as it is.
    Errors: UserError for more processes than GPUs.
    """
    member = member or membership()
    if device == "cuda":
        device = f"cuda:{own_gpu(member.local_rank if member else 0)}"
        torch.cuda.set_device(device)
    if dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size(), torch.device(device))
    if member is None:
        return World(0, 1, torch.device(device))
    if not all(member.address.rpartition(":")[::2]):
        raise UserError("MASTER_ADDR and MASTER_PORT are not both set; expected what torchrun or srun would say")
    gpu = torch.device(device) if device.startswith("cuda") else None
    dist.init_process_group(
        "nccl" if gpu else "gloo", init_method=f"tcp://{member.address}", rank=member.rank, world_size=member.size,
        device_id=gpu, timeout=TIMEOUT,
    )  # fmt: skip
    return World(member.rank, member.size, torch.device(device))


def own_gpu(local_rank: int) -> int:
    """The number of a process's GPU: its rank on the machine; 0 where it was given sight of a single one.

    Errors: UserError for more processes than GPUs.
    """
    present = torch.cuda.device_count()
    if local_rank >= present and present != 1:
        raise UserError(f"process {local_rank} of this machine needs a GPU of its own, but torch sees {present}")
    return local_rank if local_rank < present else 0


def parallel(model: nn.Module, world: World) -> nn.Module:
    """``model``, its gradients averaged over the processes of ``world``. Its buffers stay as each process has them:
    all compute the same ones, and SEED's queue alone is three times as large as the gradients."""
    if world.size == 1:
        return model
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # torch before 2.14
    devices = [world.device.index] if world.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True, **{buffers: False})


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
