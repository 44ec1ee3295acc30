"""What a whole pretraining costs in floating-point operations, by its schedule alone: no step of it is waited for."""

from collections import Counter
from dataclasses import replace

from benchmark.arrangement import COUNTED, arrangement
from benchmark.machine import operations
from pretrain.config import PretrainConfig


def training_flops(config: PretrainConfig, iterations: int) -> float:
    """Floating-point operations of ``iterations`` (a multiply-add is two): convolutions and products of all networks,
    heads and momentum encoders, forward and backward.

    An iteration of widths w_1, ..., w_s costs what w_1 alone does and, for each other w_i, what it adds to w_1. Each
    width that the schedule draws is counted once, on a few images, in proportion to the batch; the products of
    similarities, which grow with its square, are a share of less than 0.1 % at these sizes.
    """
    training = replace(config.training, batch_size=COUNTED, chunks=1, precision="fp32", compile=False)
    step = arrangement(replace(config, training=training), [1.0], "cpu")
    sampler = replace(step.trainer.sampler, iterations=iterations)
    first, added = Counter(), Counter()
    for iteration in range(iterations):
        base, *others = sampler.widths(iteration)
        first[base] += 1
        added.update((base, width) for width in others)

    def cost(*widths: float) -> int:
        return operations(replace(step, widths=list(widths)))

    alone = {width: cost(width) for width in {*first, *(base for base, _ in added)}}
    total = sum(alone[width] * count for width, count in first.items())
    total += sum((cost(*pair) - alone[pair[0]]) * count for pair, count in added.items())
    return total * config.training.batch_size / COUNTED
