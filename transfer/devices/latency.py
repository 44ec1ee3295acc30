"""Latency of plain backbones on this machine, in the runtimes of ``transfer.runtimes``.

Within each repetition all widths and runtimes take their turn, so that whatever else slows the machine slows all of
them; the median over the repetitions is reported, beside the 10th and 90th percentile, which tell how far to trust it.
Every runtime reads the file that ``transfer.convert`` writes for it and is given the same images, in memory, as they
come; what a runtime cannot do is told in the place of its time.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.plain.cost import cost, image_channels
from transfer.convert import convert
from transfer.convert.int8 import Int8
from transfer.devices.memory import peak_memory
from transfer.devices.variants import is_int8, runtime_of
from transfer.runtimes import RUNTIMES
from transfer.validation import Validation


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass of a whole batch: median, 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


@dataclass
class Latency:
    """One width. macs: of one image. By variant (``transfer.devices.variants``): timings by batch, sizes (bytes of its
    files), memory (bytes at the peak of a process), top1 (percent) and refusals (why there is no time)."""

    width: float
    params: int
    macs: int
    timings: dict[str, dict[int, Timing]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int | None] = field(default_factory=dict)
    top1: dict[str, float | None] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)


def measure(
    backbones: dict[float, nn.Module], metadata: dict, variants: Sequence[str] = ("torch",),
    batches: Sequence[int] = (1,), image_size: int = 224, repeats: int = 30, warm_up: int = 5, threads: int = 1,
    device: str = "cpu", int8: Int8 | None = None, memory: bool = True,
) -> list[Latency]:  # fmt: skip
    """Time ``backbones`` (width -> plain module) on random images [batch, C, image_size, image_size], in their order.

    metadata: the universal checkpoint's. threads: of every runtime. device: torch's; the others run on the CPU. int8:
    the images of eight-bit files, by default random ones, on which nothing is judged. memory: look
    at the peak too, which starts a process for each file.
    Errors: UserError for images that the network can't take.
    """
    found: dict[float, Latency] = {}
    calls: dict[tuple[float, str, int], Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as scratch, torch_threads(threads):
        for width, plain in backbones.items():
            spent, channels = cost(plain, image_size), image_channels(plain)
            row = found[width] = Latency(width, spent.params, spent.macs)
            said = {**metadata, "width": width, "export_size": image_size}
            images = {batch: np.float32(torch.randn(batch, channels, image_size, image_size)) for batch in batches}
            for variant in variants:
                runtime, folder = runtime_of(variant), Path(scratch) / f"width_{width:g}" / variant
                eight = replace(int8 or unjudged(channels, image_size), found={}) if is_int8(variant) else None
                try:
                    paths = convert(plain, RUNTIMES[runtime], folder, said, int8=eight)
                    run = import_module(f"transfer.runtimes.{runtime}").load(paths[0], threads, device)
                    for each in images.values():
                        run(each)
                except (UserError, RuntimeError) as error:
                    row.refusals[variant] = " ".join(str(error).split())
                    continue
                row.sizes[variant] = sum(path.stat().st_size for path in paths if path.suffix != ".json")
                row.top1[variant] = eight.found["top1_after"] if eight else None
                shape = images[batches[0]].shape
                row.memory[variant] = peak_memory(runtime, paths[0], shape, threads) if memory else None
                calls |= {(width, variant, b): lambda run=run, each=each: run(each) for b, each in images.items()}
        for (width, variant, batch), seconds in interleaved(calls, repeats, warm_up).items():
            found[width].timings.setdefault(variant, {})[batch] = timing(seconds)
    return list(found.values())


def unjudged(channels: int, image_size: int) -> Int8:
    """Random images for an eight-bit file of which the time alone counts."""
    images = torch.randint(0, 256, (24, channels, image_size, image_size), dtype=torch.uint8)
    none = torch.zeros(12, dtype=torch.long)
    half = (0.5,) * channels
    return Int8(Validation("noise", images[:12], none, images[12:], none, 0, half, half), None, lambda line: None)


def interleaved(calls: dict, repeats: int, warm_up: int, clock: Callable[[], float] = time.perf_counter) -> dict:
    """Seconds of each call, ``repeats`` of them: all calls once, then all again. The first ``warm_up`` rounds are
    not counted: they allocate memory and choose kernels."""
    seconds: dict = {key: [] for key in calls}
    for repetition in range(warm_up + repeats):
        for key, call in calls.items():
            start = clock()
            call()
            if repetition >= warm_up:
                seconds[key].append(clock() - start)
    return seconds


def timing(seconds: list[float]) -> Timing:
    """Median, 10th and 90th percentile in milliseconds."""
    if len(seconds) == 1:
        return Timing(*[1e3 * seconds[0]] * 3)
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return Timing(1e3 * statistics.median(seconds), 1e3 * tenths[0], 1e3 * tenths[-1])


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """torch's threads within an operator; put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def conditions(
    batches: Sequence[int], image_size: int, repeats: int, warm_up: int, threads: int, device: str,
    variants: Sequence[str],
) -> dict:  # fmt: skip
    """What a latency depends on beside the network. load: processes that want a core, mean of the last minute."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": threads,
        "batches": list(batches),
        "image_size": image_size,
        "repeats": repeats,
        "warm_up": warm_up,
        "versions": {runtime: version(runtime) for runtime in dict.fromkeys(map(runtime_of, variants))},
    }
