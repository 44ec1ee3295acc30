"""The cost of a training by its schedule is what its steps, counted one by one, add up to."""

from dataclasses import replace

import pytest

from benchmark.arrangement import arrangement
from benchmark.evidence.training_cost import training_flops
from benchmark.machine import operations
from tests.pretrain.helpers import tiny_config

ALONE = {"distill": "infonce", "aux_head": False, "momentum_base": False, "momentum_sub": False}


@pytest.mark.parametrize(
    ("chunks", "changes"),
    [(1, {}), (2, {"sampling": {"dynamic": False}, "objective": ALONE})],
    ids=["us3l", "us+simclr in chunks"],
)
def test_it_is_the_sum_over_all_steps(chunks, changes):
    config = tiny_config(training={"iterations": 4, "batch_size": 12, "chunks": chunks}, **changes)
    step = arrangement(config, [1.0], "cpu")
    sampler = step.trainer.sampler
    each = [operations(replace(step, widths=sampler.widths(iteration))) for iteration in range(4)]
    assert each[0] < each[3] or changes, "dynamic sampling begins with the largest network alone"
    assert training_flops(config, 4) == pytest.approx(sum(each), rel=1e-9)
