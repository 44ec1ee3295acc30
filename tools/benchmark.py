#!/usr/bin/env python
"""Measure what the suite costs on this machine, against naive arrangements of the same work."""

import importlib
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmark.show import shown
from pretrain.common import cli
from pretrain.common.errors import UserError, nearest
from pretrain.run.allocator import restart_for_cpu

BENCHMARKS = {
    "step": "seconds of a training step, beside the naive arrangement of the same maths",
    "widths": "a pass of each width, beside its share of operations and the plain network of its channels",
    "data": "images a second of the augmentation, beside torchvision's on PIL images",
    "evaluation": "one pass of the fast protocol over all widths, beside a run of the paper's for each",
    "calibration": "calibration of all widths in one pass, beside a pass for each",
    "cascade": "accuracy against mean latency where a narrow network answers first and the widest one when unsure",
    "collapse": "spread and rank of the embeddings against iterations, from the logs of pretrainings",
    "memory": "peak memory of a training step, with one backward pass for all widths and with one for each",
    "launches": "what a training step of a config asks of a GPU: operations, waits, memory; counted without one",
    "gpu": "what docs/performance.md predicts for GPUs, on this machine's, in ten minutes",
    "reduction": "what processes reduce in a step, in which buckets, and how much of it hides behind the backward pass",
}
EXAMPLE = "--backbone resnet18 --stem cifar --batch 128 --widths 1 0.625 0.25 --precision bf16 --json"


def main(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        lines = [f"  {name:12}{text}" for name, text in BENCHMARKS.items()]
        print("\n".join((
            "usage: benchmark.py BENCHMARK [options], listed by benchmark.py BENCHMARK --help", "", __doc__, "",
            "benchmarks:", *lines, "", "example:", f"  tools/benchmark.py step {EXAMPLE}",
        )))  # fmt: skip
        return
    if argv[0] not in BENCHMARKS:
        raise UserError(f"unknown benchmark '{argv[0]}'{nearest(argv[0], BENCHMARKS)}")
    benchmark = importlib.import_module(f"benchmark.{argv[0]}")
    parser = cli.Parser(benchmark.__doc__, f"tools/benchmark.py {argv[0]} {benchmark.EXAMPLE}")
    benchmark.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: torch's own choice)")
    parser.add_argument("--device", metavar="NAME", help="cuda or cpu (default: cuda if present)")
    args = parser.parse_intermixed_args(argv[1:])
    cli.check_least(args, threads=1)
    args.device = cli.checked_device(args.device)
    if args.threads is not None:
        import torch

        torch.set_num_threads(args.threads)
    print(shown(benchmark.measure(args), args.json))


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
