"""Inside a process under the null device: what was asked of it since ``reset``.

Importing this also stands in for cuDNN's convolutions, whose library wants more of a device than is here: shapes and
formats are right, and each pass counts as one operation.
"""

import ctypes
import subprocess
import tempfile
from dataclasses import dataclass

import torch
from torch import Tensor

LIBRARY = ctypes.CDLL(None)  # preloaded
COUNTERS = (
    "launches", "products", "convolutions", "norms", "solvers", "memsets",
    "stream_syncs", "device_syncs", "event_syncs",
    "h2d", "d2h", "d2d", "h2d_bytes", "d2h_bytes", "d2d_bytes", "pageable",
    "mallocs", "collectives", "collective_bytes", "graphs",
)  # fmt: skip
OPERATIONS = ("launches", "products", "convolutions", "norms", "solvers", "memsets", "h2d", "d2h", "d2d", "graphs")
SYNCS = ("stream_syncs", "device_syncs", "event_syncs")


@dataclass(frozen=True)
class Counts:
    """operations: kernels, products, convolutions, copies, fills, and CUDA graphs, each as a whole.
    syncs: times that the host waited for the device.

    pageable: copies between the device and host memory that is not pinned, for which the driver may wait even where
    the caller does not. collectives, collective_bytes: of NCCL, by one process. peak_bytes: of torch's allocator.
    """

    operations: int
    syncs: int
    pageable: int
    collectives: int
    collective_bytes: int
    peak_bytes: int


def reset() -> None:
    """Count from here."""
    torch.cuda.reset_peak_memory_stats()
    LIBRARY.nullcuda_reset()


def counts() -> Counts:
    """Since ``reset``."""
    found = counters()
    return Counts(
        operations=sum(found[name] for name in OPERATIONS),
        syncs=sum(found[name] for name in SYNCS),
        pageable=found["pageable"],
        collectives=found["collectives"],
        collective_bytes=found["collective_bytes"],
        peak_bytes=torch.cuda.max_memory_allocated(),
    )


def counters() -> dict[str, int]:
    """Every counter of the library by its name."""
    values = (ctypes.c_long * len(COUNTERS))()
    LIBRARY.nullcuda_counts(values)
    return dict(zip(COUNTERS, values, strict=True))


def calls() -> list[tuple[int, str]]:
    """Kernels and calls of libraries with their numbers, the most frequent first."""
    with tempfile.NamedTemporaryFile("r") as file:
        LIBRARY.nullcuda_write_calls(file.name.encode())
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    names = subprocess.run(["c++filt"], input="\n".join(name for _, name in rows), capture_output=True, text=True)
    return sorted(zip((int(count) for count, _ in rows), names.stdout.split("\n")), reverse=True)


def _format(x: Tensor, weight: Tensor) -> torch.memory_format:
    """channels_last where either is, as cuDNN's convolutions choose it."""

    def last(tensor: Tensor) -> bool:
        return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()

    return torch.channels_last if x.dim() == 4 and (last(x) or last(weight)) else torch.contiguous_format


def _empty_like(x: Tensor, shape: list[int], memory_format: torch.memory_format) -> Tensor:
    """Not filled, as cuDNN's outputs are not, whatever torch fills elsewhere."""
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fills


def _convolution(x, weight, padding, stride, dilation, groups, benchmark, deterministic, allow_tf32):
    LIBRARY.nullcuda_convolutions(1)
    sizes = zip(x.shape[2:], weight.shape[2:], padding, stride, dilation, strict=True)
    out = [(size + 2 * pad - wide * (kernel - 1) - 1) // step + 1 for size, kernel, pad, step, wide in sizes]
    return _empty_like(x, [len(x), len(weight), *out], _format(x, weight))


def _transposed(x, weight, padding, more, stride, dilation, groups, benchmark, deterministic, allow_tf32):
    LIBRARY.nullcuda_convolutions(1)
    sizes = zip(x.shape[2:], weight.shape[2:], padding, more, stride, dilation, strict=True)
    out = [(size - 1) * step - 2 * pad + wide * (kernel - 1) + add + 1 for size, kernel, pad, add, step, wide in sizes]
    return _empty_like(x, [len(x), groups * weight.shape[1], *out], _format(x, weight))


def _convolution_backward(grad, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, wanted):
    memory_format = _format(x, weight)
    grad, x, weight = (tensor.contiguous(memory_format=memory_format) for tensor in (grad, x, weight))
    LIBRARY.nullcuda_convolutions(wanted[0] + wanted[1])
    grads = [_empty_like(like, like.shape, memory_format) if want else None for like, want in zip((x, weight), wanted)]
    return *grads, grad.sum([0, 2, 3]) if wanted[2] else None


_overrides = torch.library.Library("aten", "IMPL")  # holds as long as this module does
_overrides.impl("cudnn_convolution", _convolution, "CUDA")
_overrides.impl("cudnn_convolution_transpose", _transposed, "CUDA")
_overrides.impl("convolution_backward", _convolution_backward, "CUDA")
