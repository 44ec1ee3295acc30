"""Differences of paired runs and their verdicts, against numpy."""

import numpy as np
import pytest

from benchmark.evidence.paired import Difference, paired


def test_mean_and_error_are_those_of_the_pairs():
    a, b = np.random.default_rng(0).normal(40, 3, (2, 5))
    found = paired(dict(enumerate(a)), dict(enumerate(b)))
    assert found.mean == pytest.approx((a - b).mean(), rel=1e-12)
    assert found.error == pytest.approx((a - b).std(ddof=1) / np.sqrt(5), rel=1e-12)
    assert found.seeds == 5


def test_only_seeds_that_both_have_are_pairs():
    assert paired({0: 1.0, 2: 5.0}, {1: 9.0, 2: 4.0}) == Difference(1.0, None, 1)
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("mean", "error", "verdict"),
    [
        (2.1, 1.0, "seen"), (2.0, 1.0, "not seen"), (-2.0, 1.0, "not seen"), (-2.1, 1.0, "contradicted"),
        (5.0, None, "one seed"), (0.0, 0.0, "not seen"),
    ],
)  # fmt: skip
def test_the_verdict_is_computed_at_two_errors(mean, error, verdict):
    assert Difference(mean, error, 2).verdict == verdict
