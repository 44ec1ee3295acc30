"""Seconds of a training step: as the trainer takes it, and as one would write it down first (benchmark/naive_step.py).

The arrangements take turns, each in a process of its own, so that none finds its memory as another left it; the median
over ``--repeats`` rounds counts, after one that warms up. No images are loaded. All need their memory at once.

The naive one is measured as a program that says nothing to the C library: on a CPU its process starts without the
setting of ``pretrain/run/allocator.py`` that keeps freed memory. With it, it is measured a second time.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from benchmark.apart import apart
from benchmark.arrangement import add_step_arguments, arrangement, step_config, step_flops
from benchmark.machine import machine, medians, peak_flops, set_threads, timed
from benchmark.naive_step import NaiveStep
from pretrain.common.cli import check_least
from pretrain.run.allocator import FOR_CPU
from pretrain.run.device import resolve_precision

KEPT = "GLIBC_TUNABLES"  # what of a process's start the naive arrangement does without
EXAMPLE = "--backbone resnet18 --stem cifar --batch 128 --widths 1 0.625 0.25 --precision bf16 --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds that count (default: 3)")
    parser.add_argument("--compile", action="store_true", help="also with training.compile")
    parser.add_argument("--without-naive", action="store_true", help="leave the naive arrangement out")


def measure(args: argparse.Namespace) -> dict:
    """Rows: arrangements. ``seconds_per_step``: the trainer's own, losses accumulated, in the asked precision."""
    check_least(args, repeats=1)
    with arrangements(args) as steps:
        seconds = medians(steps, args.repeats, "cpu")  # each waits for its own device
    flops, naive = step_flops(args), seconds.get("naive")
    asked = resolve_precision(args.precision, torch.device(args.device))
    precisions = {name: "fp32" if name.startswith("naive") else asked for name in seconds}
    peaks = {precision: peak_flops(precision, args.device) for precision in {*precisions.values(), asked}}
    rows = [
        {
            "arrangement": name, "precision": precisions[name], "seconds": taken,
            "times_naive": naive and naive / taken, "tflops_per_second": flops / taken / 1e12,
            "share_of_peak": flops / taken / peaks[precisions[name]],
        }
        for name, taken in seconds.items()
    ]  # fmt: skip
    return {
        "title": f"A training step of {args.backbone} at widths {', '.join(f'{w:g}' for w in args.widths)}",
        "rows": rows,
        "seconds_per_step": seconds["accumulate"], "naive_seconds_per_step": naive, "precision": asked,
        "batch": args.batch, "image_size": args.image_size, "repeats": args.repeats,
        "tflop_per_step": flops / 1e12, "peak_tflops_per_second": peaks[asked] / 1e12, **machine(args.device),
    }  # fmt: skip


@contextmanager
def arrangements(args: argparse.Namespace) -> Iterator[dict[str, Callable[[], None]]]:
    """By name: ``naive``, under both settings of memory, and the trainer's with an optimizer step after each width (the
    same maths), after all, and compiled if that is asked for."""
    ours = {update: {"update": update} for update in ("per_width", "accumulate")}
    if args.compile:
        ours["accumulate, compiled"] = {"compile": True}
    kept = os.environ.get(KEPT) == FOR_CPU[KEPT]
    with ExitStack() as processes:
        steps = {}
        if not args.without_naive:
            steps["naive"] = processes.enter_context(apart(naive_step, args, without=[KEPT] if kept else []))
        if kept and not args.without_naive:
            steps["naive, memory kept"] = processes.enter_context(apart(naive_step, args))
        for name, training in ours.items():
            steps[name] = processes.enter_context(apart(trainers_step, args, training))
        yield steps


def trainers_step(args: argparse.Namespace, training: dict) -> Callable[[], None]:
    """The trainer's step. training: settings of the config's section of that name."""
    set_threads(args.threads)
    return partial(timed, arrangement(step_config(args, **training), args.widths, args.device), args.device)


def naive_step(args: argparse.Namespace) -> Callable[[], None]:
    """The naive arrangement on the same images, NCHW and fp32."""
    set_threads(args.threads)
    fp32 = argparse.Namespace(**vars(args) | {"precision": "fp32"})
    base = arrangement(step_config(fp32), args.widths, args.device)
    model = base.trainer.model.to(memory_format=torch.contiguous_format)
    step = NaiveStep(model, base.trainer.config, base.trainer.lr)
    views = tuple(view.contiguous() for view in base.batch.views)
    return partial(timed, partial(step.step, views, args.widths), args.device)
