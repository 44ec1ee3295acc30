"""How long one forward pass of each width takes, in torch (eager) and in onnxruntime.

The widths and the two runtimes take turns within each repetition, so that whatever else slows the machine slows all of
them; the median over the repetitions is reported, beside the quartiles, which tell how far to trust it.
"""

import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from pretrain.plain.cost import cost, image_channels
from transfer.tables.table import Cell, Table

RUNTIMES = {"torch": "torch eager (ms)", "onnxruntime": "onnxruntime (ms)"}


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass of a whole batch: median and quartiles."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Latency:
    """One width. macs: of one image. timings: by runtime, ``torch`` and, where it is installed, ``onnxruntime``."""

    width: float
    params: int
    macs: int
    timings: dict[str, Timing]


@torch.inference_mode()
def measure(
    backbones: dict[float, nn.Module], batch: int = 1, image_size: int = 224, repeats: int = 30, warm_up: int = 5,
    threads: int = 1, device: str = "cpu",
) -> list[Latency]:  # fmt: skip
    """Time ``backbones`` (width -> plain module) on random images [batch, 3, image_size, image_size], in their order.

    threads: of both runtimes. onnxruntime always runs on the CPU; without its packages only torch is timed.
    """
    costs = {width: cost(plain, image_size) for width, plain in backbones.items()}
    with tempfile.TemporaryDirectory() as scratch, torch_threads(threads):
        calls: dict[tuple[float, str], Callable[[], object]] = {}
        for width, plain in backbones.items():
            calls[width, "torch"] = torch_call(plain, batch, image_size, device)
            if has_onnx():
                path = Path(scratch) / f"{width:g}.onnx"
                calls[width, "onnxruntime"] = onnx_call(plain, batch, image_size, threads, path)
        seconds = interleaved(calls, repeats, warm_up)
    return [
        Latency(width, costs[width].params, costs[width].macs, {
            runtime: timing(seconds[width, runtime]) for runtime in RUNTIMES if (width, runtime) in seconds
        })
        for width in backbones
    ]  # fmt: skip


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
    """Median and quartiles in milliseconds."""
    if len(seconds) == 1:
        return Timing(*[1e3 * seconds[0]] * 3)
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(1e3 * median, 1e3 * lower, 1e3 * upper)


def torch_call(plain: nn.Module, batch: int, image_size: int, device: str) -> Callable[[], object]:
    """One forward pass in eager mode, waited for."""
    module = copy.deepcopy(plain).to(device).eval()
    images = torch.randn(batch, image_channels(plain), image_size, image_size, device=device)
    if not device.startswith("cuda"):
        return lambda: module(images)

    def call() -> None:
        module(images)
        torch.cuda.synchronize(device)

    return call


def has_onnx() -> bool:
    """Whether a network can be exported and run."""
    return all(find_spec(module) for module in ("onnx", "onnxscript", "onnxruntime"))


def onnx_call(plain: nn.Module, batch: int, image_size: int, threads: int, path: Path) -> Callable[[], object]:
    """One pass of an exported file, which lies at ``path``, on the CPU."""
    from transfer.convert.onnx import export, session

    with torch.inference_mode(False):
        export(copy.deepcopy(plain).cpu().eval(), path, image_size)
    runner = session(path, threads)
    images = {"images": torch.randn(batch, image_channels(plain), image_size, image_size).numpy()}
    return lambda: runner.run(["features"], images)


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


def conditions(batch: int, image_size: int, repeats: int, warm_up: int, threads: int, device: str) -> dict:
    """What a latency depends on beside the network."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": threads,
        "batch": batch,
        "image_size": image_size,
        "repeats": repeats,
        "warm_up": warm_up,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime_version()},
    }


def onnxruntime_version() -> str | None:
    return version("onnxruntime") if has_onnx() else None


def latency_table(name: str, found: list[Latency], where: dict) -> Table:
    """Rows: widths. Columns: parameters, MACs, and the median of each runtime with its quartiles."""
    runtimes = [runtime for runtime in RUNTIMES if any(runtime in row.timings for row in found)]
    title = (
        f"Latency of {name}: batch {where['batch']} of {where['image_size']} px, {where['processor']}, "
        f"{where['threads']} thread{'s' if where['threads'] > 1 else ''}; median (quartiles) of {where['repeats']} "
        f"interleaved passes after {where['warm_up']}."
    )
    table = Table("latency", title, ["width"], ["params (M)", "MACs (M)", *(RUNTIMES[r] for r in runtimes)])
    for row in found:
        cells = [Cell(f"{row.params / 1e6:.2f}"), Cell(f"{row.macs / 1e6:.1f}")]
        for runtime in runtimes:
            t = row.timings[runtime]
            cells.append(Cell(f"{t.median:.2f} ({t.lower:.2f} to {t.upper:.2f})"))
        table.rows.append(([f"{row.width:g}"], cells))
    return table
