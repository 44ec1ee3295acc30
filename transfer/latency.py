"""How long one forward pass of each width takes, in each of several runtimes.

The widths and the runtimes take turns within each repetition, so that whatever else slows the machine slows all of
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
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError, nearest
from pretrain.plain.cost import cost, image_channels
from transfer.convert import FORMATS, convert, require
from transfer.runtimes import RUNTIMES
from transfer.tables.table import Cell, Table

ALWAYS = ("torch", "onnxruntime")  # timed where no runtime is named, as far as they are installed


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass of a whole batch: median, 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


@dataclass
class Latency:
    """One width. macs: of one image. timings, sizes (bytes of its files) and refusals (why not), each by runtime."""

    width: float
    params: int
    macs: int
    timings: dict[str, Timing] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)


def chosen(runtimes: Sequence[str] | None) -> list[str]:
    """The runtimes to time: those named, each once, or the installed ones of ``ALWAYS`` for None.

    Errors: UserError for one that is unknown or not installed.
    """
    if runtimes is None:
        return [runtime for runtime in ALWAYS if not FORMATS[RUNTIMES[runtime]].missing()]
    for runtime in runtimes:
        if runtime not in RUNTIMES:
            raise UserError(f"unknown runtime '{runtime}'{nearest(runtime, RUNTIMES)}")
        require(RUNTIMES[runtime])
    return list(dict.fromkeys(runtimes))


def measure(
    backbones: dict[float, nn.Module], metadata: dict, runtimes: Sequence[str] = ("torch",), batch: int = 1,
    image_size: int = 224, repeats: int = 30, warm_up: int = 5, threads: int = 1, device: str = "cpu",
) -> list[Latency]:  # fmt: skip
    """Time ``backbones`` (width -> plain module) on random images [batch, 3, image_size, image_size], in their order.

    metadata: the universal checkpoint's. threads: of every runtime. device: torch's; the others run on the CPU.
    Errors: UserError for images that the network can't take.
    """
    found: dict[float, Latency] = {}
    calls: dict[tuple[float, str], Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as scratch, torch_threads(threads):
        for width, plain in backbones.items():
            spent = cost(plain, image_size)
            found[width] = Latency(width, spent.params, spent.macs)
            said = {**metadata, "width": width, "export_size": image_size}
            images = torch.randn(batch, image_channels(plain), image_size, image_size).numpy()
            for runtime in runtimes:
                try:
                    paths = convert(plain, RUNTIMES[runtime], Path(scratch) / f"{width:g}" / runtime, said)
                    run = import_module(f"transfer.runtimes.{runtime}").load(paths[0], threads, device)
                    run(images)
                except (UserError, RuntimeError) as error:
                    found[width].refusals[runtime] = " ".join(str(error).split())
                    continue
                found[width].sizes[runtime] = sum(path.stat().st_size for path in paths if path.suffix != ".json")
                calls[width, runtime] = lambda run=run, images=images: run(images)
        for (width, runtime), seconds in interleaved(calls, repeats, warm_up).items():
            found[width].timings[runtime] = timing(seconds)
    return list(found.values())


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
    batch: int, image_size: int, repeats: int, warm_up: int, threads: int, device: str, runtimes: Sequence[str]
) -> dict:
    """What a latency depends on beside the network. load: processes that want a core, mean of the last minute."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": threads,
        "batch": batch,
        "image_size": image_size,
        "repeats": repeats,
        "warm_up": warm_up,
        "versions": {runtime: version(runtime) for runtime in runtimes},
    }


def latency_table(name: str, found: list[Latency], where: dict) -> Table:
    """Rows: widths. Columns: parameters, MACs, and for each runtime the time and the size of its files."""
    runtimes = list(where["versions"])
    title = (
        f"Latency of {name}: batch {where['batch']} of {where['image_size']} px, {where['processor']}, "
        f"{where['threads']} thread{'s' if where['threads'] > 1 else ''}, load {where['load']} on {where['cores']} "
        f"cores; median (p10 to p90) of {where['repeats']} interleaved passes after {where['warm_up']}."
    )
    columns = [f"{runtime} ({unit})" for runtime in runtimes for unit in ("ms", "MB")]
    table = Table("latency", title, ["width"], ["params (M)", "MACs (M)", *columns])
    for row in found:
        cells = [Cell(f"{row.params / 1e6:.2f}"), Cell(f"{row.macs / 1e6:.1f}")]
        for runtime in runtimes:
            if runtime in row.refusals:
                cells += [Cell(row.refusals[runtime]), Cell("")]
                continue
            t = row.timings[runtime]
            cells += [Cell(f"{t.median:.2f} ({t.p10:.2f} to {t.p90:.2f})"), Cell(f"{row.sizes[runtime] / 1e6:.2f}")]
        table.rows.append(([f"{row.width:g}"], cells))
    return table
