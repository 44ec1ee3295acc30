"""Stages, the smallest width, the sandwich rule."""

import pytest

from pretrain.backbones import create_backbone
from pretrain.sampling import WidthSampler, stage

SPACE = create_backbone("resnet18").width_space()


@pytest.mark.parametrize("iterations", [4, 5, 6, 7, 9, 101, 1000])
def test_four_stages_of_equal_length_up_to_rounding(iterations):
    stages = [stage(t, iterations) for t in range(iterations)]
    assert stages == sorted(stages) == [4 * t // iterations for t in range(iterations)]
    lengths = [stages.count(p) for p in range(4)]
    assert max(lengths) - min(lengths) <= 1 and sum(lengths) == iterations


@pytest.mark.parametrize("iterations", [8, 10, 103])
def test_the_smallest_width_falls_by_a_quarter_a_stage(iterations):
    sampler = WidthSampler(SPACE, iterations, seed=0)
    for t in range(iterations):
        assert sampler.smallest(t) == pytest.approx((1.0, 0.75, 0.5, 0.25)[4 * t // iterations])
    assert sampler.smallest(iterations - 1) == 0.25


def test_us3l_runs_1_3_3_3_networks_so_two_and_a_half_on_average():
    sampler = WidthSampler(SPACE, 400, seed=0)
    counts = [len(sampler.widths(t)) for t in range(400)]
    assert [counts[i] for i in (0, 99, 100, 199, 200, 300, 399)] == [1, 1, 3, 3, 3, 3, 3]
    assert sum(counts) == 2.5 * 400


def test_dynamic_sampling_runs_the_largest_the_smallest_and_one_between():
    sampler = WidthSampler(SPACE, 40, seed=0)
    for t in range(10, 40):
        largest, between, smallest = sampler.widths(t)
        assert (largest, smallest) == (1.0, sampler.smallest(t))
        assert SPACE.snap(smallest) <= between <= 1.0


def test_without_dynamic_sampling_there_are_four_networks_throughout():
    sampler = WidthSampler(SPACE, 40, seed=0, dynamic=False)
    drawn = [sampler.widths(t) for t in range(40)]
    assert all(len(w) == 4 and (w[0], w[-1]) == (1.0, 0.25) for w in drawn)


def test_the_number_of_networks_is_settable():
    assert len(WidthSampler(SPACE, 40, seed=0, dynamic=False, networks=3).widths(0)) == 3


@pytest.mark.parametrize("dynamic", [True, False])
def test_one_network_is_the_largest_alone(dynamic):
    sampler = WidthSampler(SPACE, 40, seed=0, dynamic=dynamic, networks=1)
    assert all(sampler.widths(t) == [1.0] for t in range(40))


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_range_of_one_width_runs_that_width_alone(dynamic):
    """The single-width baselines."""
    space = create_backbone("resnet18").width_space(0.5, 0.5)
    assert len(space) == 1
    assert all(WidthSampler(space, 40, seed=0, dynamic=dynamic).widths(t) == [0.5] for t in range(40))


def test_without_the_sandwich_rule_all_widths_are_drawn_and_the_largest_comes_first():
    sampler = WidthSampler(SPACE, 40, seed=0, dynamic=False, sandwich=False)
    drawn = [sampler.widths(t) for t in range(40)]
    assert all(len(w) == 4 and w == sorted(w, reverse=True) for w in drawn)
    assert sum(1.0 in w for w in drawn) < 10 and sum(0.25 in w for w in drawn) < 10


def test_widths_are_a_function_of_the_iteration_alone():
    one, other = WidthSampler(SPACE, 40, seed=3), WidthSampler(SPACE, 40, seed=3)
    assert [one.widths(t) for t in (39, 12, 30)] == [other.widths(t) for t in (39, 12, 30)]
    assert one.widths(39) != WidthSampler(SPACE, 40, seed=4).widths(39)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"dynamic": False}, {"sandwich": False}, {"networks": 5}, {"networks": 1}, {"fixed": (1.0, 0.5)},
        {"dynamic": False, "networks": 2},
    ],
)  # fmt: skip
def test_the_work_is_what_the_drawn_widths_cost_on_average(options):
    """A pass at width w counts w^2, and each iteration a third of the largest pass."""
    sampler = WidthSampler(SPACE, 4000, seed=0, **options)
    for start, stop in ((0, 1000), (900, 2100), (3000, 4000)):
        drawn = sum(1 / 3 + sum(width**2 for width in sampler.widths(t)) for t in range(start, stop))
        assert sampler.work(start, stop) == pytest.approx(drawn, rel=0.03)
    assert sampler.work(0, 4000) == pytest.approx(sampler.work(0, 1234) + sampler.work(1234, 4000))


def test_time_left_at_the_end_of_stage_0_counts_what_later_stages_cost():
    """US3L's first stage runs one network an iteration, the others three."""
    sampler = WidthSampler(SPACE, 400, seed=0)
    later = sampler.work(100, 400) / sampler.work(0, 100)
    assert later / 3 == pytest.approx(1.6, abs=0.15), "an iteration of stages 1 to 3 beside one of stage 0"
