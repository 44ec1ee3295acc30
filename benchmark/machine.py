"""The machine under a figure: its processor, and the fastest matrix product that it was seen to do."""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from pretrain.precision import DTYPES
from transfer.latency import interleaved, processor

SIDE = 2048  # of the square matrices; large enough to leave the caches, small enough to take a second
REPEATS = 5


def machine(device: str) -> dict:
    """What a timing depends on besides the code: processor or GPU, cores, threads, torch."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    return {
        "processor": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def peak_flops(precision: str, device: str) -> float:
    """Floating-point operations a second (a multiply-add is two) of a large matrix product, median of a few."""
    a = torch.randn(SIDE, SIDE, device=device, dtype=DTYPES.get(precision, torch.float32))
    seconds = [timed(lambda: a @ a, device) for _ in range(REPEATS + 1)][1:]
    return 2 * SIDE**3 / statistics.median(seconds)


def medians(calls: dict, repeats: int, device: str) -> dict:
    """Median seconds of each call by its key: all take turns, once to warm up and ``repeats`` times to count."""
    waited = {key: partial(timed, call, device) for key, call in calls.items()}
    return {key: statistics.median(seconds) for key, seconds in interleaved(waited, repeats, warm_up=1).items()}


def timed(call: Callable[[], object], device: str) -> float:
    """Seconds of one call, waited for."""
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
