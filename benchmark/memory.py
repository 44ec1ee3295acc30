"""Peak memory of a training step by batch size, with one backward pass for all widths and with one for each.

Each figure is of a process of its own: what it held at most in its two first steps, less what it held before the net
was built, as Linux counts it. On a GPU it is what torch's allocator had given out.
"""

import argparse
import multiprocessing

import torch

from benchmark.arrangement import add_step_arguments, arrangement, step_config
from benchmark.machine import machine, set_threads
from pretrain.common.errors import UserError
from pretrain.common.memory import process_memory
from pretrain.run.device import resolve_precision

EXAMPLE = "--backbone resnet18 --stem cifar --batches 32 64 128 --widths 1 0.625 0.25"
STEPS = 2  # the first makes the optimizer's state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        metavar="B",
        help="batch sizes (default: a quarter and a half of --batch, and it)",
    )
    parser.add_argument("--limit", type=float, metavar="GB", help="say which steps fit into this much memory")


def measure(args: argparse.Namespace) -> dict:
    """Rows: batch sizes, each with the GB (1e9 bytes) of ``training.memory`` normal and low."""
    batches = args.batches or sorted({max(2, args.batch // 4), max(2, args.batch // 2), args.batch})
    if min(batches) < 2:
        raise UserError(f"--batches {min(batches)} is too small; expected 2 images or more")
    rows = []
    for batch in batches:
        of = {memory: in_a_process(args, batch, memory) for memory in ("normal", "low")}
        row = {"batch": batch, "normal_gb": of["normal"] / 1e9, "low_gb": of["low"] / 1e9}
        row["low_of_normal"] = of["low"] / of["normal"]
        if args.limit:
            row |= {f"{memory}_fits": value / 1e9 <= args.limit for memory, value in of.items()}
        rows.append(row)
    return {
        "title": f"Peak memory of a step of {args.backbone} at widths {', '.join(f'{w:g}' for w in args.widths)}",
        "rows": rows, "image_size": args.image_size, "limit_gb": args.limit,
        "precision": resolve_precision(args.precision, torch.device(args.device)),
        **machine(args.device),
    }  # fmt: skip


def in_a_process(args: argparse.Namespace, batch: int, memory: str) -> int:
    """``peak_bytes`` in a fresh process, whose peak is nothing but its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_bytes, (argparse.Namespace(**vars(args) | {"batch": batch}), memory))


def peak_bytes(args: argparse.Namespace, memory: str) -> int:
    """Peak of building a trainer and taking its first steps, in this process."""
    set_threads(args.threads)
    cuda = args.device.startswith("cuda")
    before = 0 if cuda else process_memory("VmRSS")
    step = arrangement(step_config(args, memory=memory), args.widths, args.device)
    for _ in range(STEPS):
        step()
    return torch.cuda.max_memory_allocated(args.device) if cuda else process_memory("VmHWM") - before
