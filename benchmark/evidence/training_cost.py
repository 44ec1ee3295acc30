"""What a whole pretraining costs in floating-point operations, by its schedule alone: no step of it is waited for."""

from collections import Counter
from dataclasses import replace

from benchmark.arrangement import COUNTED, Arrangement, arrangement
from benchmark.machine import operations
from pretrain.config import PretrainConfig


def training_flops(config: PretrainConfig, iterations: int) -> float:
    """Floating-point operations of ``iterations`` (a multiply-add is two): convolutions and products of all networks,
    heads and momentum encoders, forward and backward.

    An iteration of widths w_1, ..., w_s costs what w_1 alone does and, for each other w_i, what it adds to w_1. Each
    width that the schedule draws is counted once, on few images: networks take a B operations for B images,
    similarities within a chunk of B / c images b (B / c)^2, and two counts say a and b.
    """
    training = config.training
    few, more = (_step(config, COUNTED), _step(config, 2 * COUNTED))
    sampler = replace(few.trainer.sampler, iterations=iterations)
    first, added = Counter(), Counter()
    for iteration in range(iterations):
        base, *others = sampler.widths(iteration)
        first[base] += 1
        added.update((base, width) for width in others)

    def cost(*widths: float) -> float:
        one, two = (operations(replace(step, widths=list(widths))) for step in (few, more))
        square = (two - 2 * one) / (2 * COUNTED**2)
        linear = one / COUNTED - square * COUNTED
        return linear * training.batch_size + square * training.batch_size**2 / (training.chunks or 1)

    alone = {width: cost(width) for width in {*first, *(base for base, _ in added)}}
    total = sum(alone[width] * count for width, count in first.items())
    return total + sum((cost(*pair) - alone[pair[0]]) * count for pair, count in added.items())


def _step(config: PretrainConfig, images: int) -> Arrangement:
    training = replace(config.training, batch_size=images, chunks=1, precision="fp32", compile=False)
    return arrangement(replace(config, training=training), [1.0], "cpu")
