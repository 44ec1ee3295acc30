"""The machine under a figure: its processor, and the fastest arithmetic that it was seen to do."""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from pretrain.run.device import DTYPES
from transfer.devices.latency import interleaved, processor

SIDE = 2048  # of the square matrices; large enough to leave the caches, small enough to take a second
IMAGES, CHANNELS, PIXELS = 64, 256, 18  # of the convolution, which is about as much work
REPEATS = 5


def machine(device: str) -> dict:
    """What a timing depends on besides the code: processor or GPU, cores, threads, torch."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    return {
        "processor": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def set_threads(threads: int | None) -> None:
    """Set torch's threads in this process; None leaves them as they are."""
    torch.set_num_threads(threads or torch.get_num_threads())


def peak_flops(precision: str, device: str) -> float:
    """Floating-point operations a second (a multiply-add is two) of a large matrix product or of a large convolution.

    The faster of the two by the median of a few: which libraries compute them, and how well they know the processor,
    differs. The convolution has no padding, so that every operation that is counted is one on a pixel.
    """
    dtype = DTYPES.get(precision, torch.float32)
    a = torch.randn(SIDE, SIDE, device=device, dtype=dtype)
    x = torch.randn(IMAGES, CHANNELS, PIXELS, PIXELS, device=device, dtype=dtype)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device, dtype=dtype)
    x, weight = (tensor.to(memory_format=torch.channels_last) for tensor in (x, weight))
    calls = {"product": lambda: a @ a, "convolution": lambda: conv2d(x, weight)}
    seconds = medians(calls, REPEATS, device)
    return max(operations(call) / seconds[name] for name, call in calls.items())


def operations(call: Callable[[], object]) -> int:
    """Number of products and convolutions in a call, which is made."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


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
