"""Several gloo processes on this machine, for tests of what crosses them."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing


def run_processes(function: Callable, size: int, *args, anew: bool = False) -> list:
    """``function(rank, *args)`` in ``size`` processes of one group; what each returned, in rank order.

    They are forks of a process that has imported what they need, and does nothing else. anew: each is started by
    itself, for what is read when something is imported.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["pretrain.train"])
    with tempfile.TemporaryDirectory() as folder:
        given = (function, size, Path(folder), dict(os.environ), args)
        method = "spawn" if anew else "forkserver"
        torch.multiprocessing.start_processes(_process, given, nprocs=size, start_method=method)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(size)]


def _process(rank: int, function: Callable, size: int, folder: Path, environment: dict, args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment, RANK=str(rank), WORLD_SIZE=str(size))
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    try:
        torch.save(function(rank, *args), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
