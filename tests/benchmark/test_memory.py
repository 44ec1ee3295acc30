"""tools/benchmark.py memory: a backward pass for each width needs less."""

import pytest

from benchmark import memory
from pretrain.common.errors import UserError
from tests.benchmark.arguments import step_arguments


def test_a_backward_pass_for_each_width_needs_less():
    args = step_arguments(
        base_channels=16, image_size=16, stem="cifar", widths=[1.0, 0.95, 0.9], batches=[128], limit=0.01
    )
    [row] = memory.measure(args)["rows"]
    assert row["low_of_normal"] < 0.8
    assert not row["normal_fits"]


def test_a_batch_of_one_is_refused():
    with pytest.raises(UserError, match="--batches 1 is too small"):
        memory.measure(step_arguments(batches=[1], limit=None))
