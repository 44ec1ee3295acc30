"""What the processes of a run reduce in a step: how often each parameter, in which buckets, and how much is hidden.

Processes with gloo on CPUs, as many as asked for, take the steps of one run. DistributedDataParallel packs gradients
into buckets in the order in which the backward pass finishes them, and reduces a bucket while the pass goes on.
"""

import argparse
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from benchmark.arrangement import add_step_arguments, random_images, step_config
from benchmark.machine import machine
from pretrain.common.errors import UserError
from pretrain.config import PretrainConfig
from pretrain.data.loader import LoadedBatch
from pretrain.run.distributed import World
from pretrain.run.membership import free_port
from pretrain.trainer import Trainer

EXAMPLE = "--processes 4 --backbone resnet18 --stem cifar --batch 32"
MODES = {"accumulate": {}, "memory low": {"memory": "low"}, "per_width": {"update": "per_width"}}
STEPS = 3  # the first rebuilds the buckets in the order that it saw


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")


def measure(args: argparse.Namespace) -> dict:
    """Rows: buckets of a step that accumulates, in the order of their reduction. Shares are of the backward pass.

    ``times_each_parameter``: how often a step reduces a parameter, by mode. ``hidden``: 1 - (seconds by which reducing
    lengthens the step) / (seconds that the same reductions take by themselves); None where that is below 0, because
    processes that share the cores slow each other more than reductions do.
    """
    if not 2 <= args.processes <= args.batch // 2:
        raise UserError(
            f"--processes {args.processes}; expected 2 to {args.batch // 2}, two images of the batch for each"
        )
    port = free_port()
    queue = processes.get_context("spawn").SimpleQueue()
    processes.spawn(one_process, (args, port, queue), nprocs=args.processes)
    return {
        "title": f"Gradients of {args.backbone} that {args.processes} processes reduce in a step", **queue.get(),
        "processes": args.processes, "batch": args.batch, **machine("cpu"),
    }  # fmt: skip


def one_process(rank: int, args: argparse.Namespace, port: int, queue) -> None:
    """A process of the run; the first puts what it saw into the queue."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(args.threads or 1)
    dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    seen = {mode: Watched(args, step_config(args, chunks=args.processes, **m), rank) for mode, m in MODES.items()}
    times = {mode: watched.elements() / watched.trainable for mode, watched in seen.items()}
    found = seen["accumulate"].timeline() | {"times_each_parameter": times}
    if rank == 0:
        queue.put(found)
    dist.barrier()
    dist.destroy_process_group()


class Watched:
    """A trainer whose reductions are written down: (elements, seconds at the start, seconds at the end) each."""

    def __init__(self, args: argparse.Namespace, config: PretrainConfig, rank: int):
        self.trainer = Trainer(config, World(rank, args.processes, torch.device("cpu")), config.training.iterations)
        self.reductions: list[list] = []
        self.trainer.ddp.register_comm_hook(self.reductions, reduce_and_note)
        self.trainable = sum(p.numel() for p in self.trainer.model.parameters() if p.requires_grad)
        part = random_images(config)[rank :: args.processes]
        rows = torch.zeros(len(part), 2).long()
        self.batch, self.widths = self.trainer.prepare(LoadedBatch(part, rows[:, 0], rows)), args.widths
        for _ in range(STEPS):
            self.reductions.clear()
            self.trainer.learn(self.batch, self.widths, 0.5)

    def elements(self) -> int:
        """Reduced in the last step."""
        return sum(count for count, *_ in self.reductions)

    def timeline(self) -> dict:
        """Timeline of one more step's backward pass, and the share of its reductions that cost no time."""
        buckets = [count for count, *_ in self.reductions]
        reduced = [self._backward() for _ in range(STEPS)]
        start, end = reduced[-1]
        rows = [
            {
                "bucket": number, "parameters": count, "mb": 4 * count / 1e6,
                "started_at": (begun - start) / (end - start), "done_at": (done - start) / (end - start),
            }
            for number, (count, begun, done) in enumerate(self.reductions)
        ]  # fmt: skip
        with self.trainer.ddp.no_sync():
            alone = [self._backward() for _ in range(STEPS)]
        longer = statistics.median(e - s for s, e in reduced) - statistics.median(e - s for s, e in alone)
        by_itself = statistics.median(seconds_to_reduce(buckets) for _ in range(STEPS))
        return {
            "rows": rows, "seconds_of_backward": statistics.median(e - s for s, e in alone),
            "seconds_longer_with_reductions": longer, "seconds_of_reductions_alone": by_itself,
            "hidden": 1 - longer / by_itself if 0 <= longer <= by_itself else None,
        }  # fmt: skip

    def _backward(self) -> tuple[float, float]:
        """When a backward pass of the step's losses started and ended; all processes start together."""
        self.reductions.clear()
        self.trainer.optimizer.zero_grad()
        terms = self.trainer.ddp(self.batch, self.widths, None).terms
        loss = torch.stack([term.value for term in terms]).sum()
        dist.barrier()
        start = time.perf_counter()
        loss.backward()
        return start, time.perf_counter()


def reduce_and_note(reductions: list[list], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A bucket's mean over the processes, as DistributedDataParallel computes it by itself."""
    buffer, note = bucket.buffer(), [bucket.buffer().numel(), time.perf_counter(), 0.0]
    reductions.append(note)

    def done(future: torch.futures.Future) -> torch.Tensor:
        note[2] = time.perf_counter()
        return future.value()[0]

    buffer.div_(dist.get_world_size())
    return dist.all_reduce(buffer, async_op=True).get_future().then(done)


def seconds_to_reduce(buckets: list[int]) -> float:
    """Time of all-reduces of so many elements, one after the other, with nothing else to do."""
    tensors = [torch.zeros(count) for count in buckets]
    dist.barrier()
    start = time.perf_counter()
    for tensor in tensors:
        dist.all_reduce(tensor)
    return time.perf_counter() - start
