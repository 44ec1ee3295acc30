"""tools/benchmark.py reduction: a step reduces each trainable parameter once for each step of the optimizer."""

import pytest

from benchmark import reduction
from benchmark.arrangement import arrangement, step_config
from pretrain.common.errors import UserError
from tests.benchmark.arguments import step_arguments


def test_each_parameter_is_reduced_once_in_a_step():
    args = step_arguments(processes=2)
    found = reduction.measure(args)
    model = arrangement(step_config(args), args.widths, "cpu").trainer.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(row["parameters"] for row in found["rows"]) == trainable
    assert found["times_each_parameter"] == {"accumulate": 1, "memory low": 1, "per_width": len(args.widths)}
    starts = [row["started_at"] for row in found["rows"]]
    assert starts == sorted(starts) and starts[0] < 0.9  # before the backward pass ends


def test_more_processes_than_pairs_of_images_are_refused():
    with pytest.raises(UserError, match="--processes 3; expected 2 to 2"):
        reduction.measure(step_arguments(processes=3))
