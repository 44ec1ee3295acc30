"""Schedules against their closed forms."""

import math

import pytest

from pretrain.schedules import ramp, warmup_cosine


def test_without_warmup_the_cosine_goes_from_1_to_0():
    assert warmup_cosine(0, 10) == 1.0
    assert warmup_cosine(3, 10) == pytest.approx((1 + math.cos(0.3 * math.pi)) / 2)
    assert warmup_cosine(10, 10) == pytest.approx(0.0)


def test_the_warmup_is_linear_and_the_cosine_takes_the_rest():
    assert [warmup_cosine(t, 20, 4) for t in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert warmup_cosine(12, 20, 4) == pytest.approx(0.5)


def test_a_ramp_is_0_before_its_span_and_1_after():
    assert [ramp(p, (0.5, 1.0)) for p in (0.0, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.5, 1.0]
    assert ramp(0.0, None) == 1.0


def test_a_ramp_between_equal_shares_is_a_jump():
    """As the released program switches alpha on at epoch 50 of 100."""
    assert [ramp(t / 100, (0.5, 0.5)) for t in (0, 49, 50, 51, 99)] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert ramp(0.0, (0.0, 0.0)) == 1.0
