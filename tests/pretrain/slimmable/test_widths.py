"""Rounding, distinct sub-networks, and the draw among them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.slimmable.widths import round_channels

NUMBERS = {
    "resnet18": 90, "resnet34": 90, "resnet50": 378, "resnet101": 378, "mobilenetv2": 57,
    "vit_tiny": 7, "vit_small": 13, "vit_base": 25,
}  # fmt: skip


@given(st.integers(1, 4096), st.floats(0.25, 1.0))
def test_rounded_channels_are_the_nearest_multiple_of_8_that_loses_at_most_a_tenth(channels, width):
    exact, rounded = channels * width, round_channels(channels, width)
    assert rounded % 8 == 0 and rounded >= 8
    assert rounded >= 0.9 * exact
    nearest = max(8, 8 * int(np.floor(exact / 8 + 0.5)))
    assert rounded == (nearest if nearest >= 0.9 * exact else nearest + 8)


def test_channels_of_resnet50_at_0_9_are_those_of_the_method():
    channels = create_backbone("resnet50").channels(0.9)
    assert channels.stem == 56
    assert channels.outer == (232, 464, 920, 1840)


@pytest.mark.parametrize(("name", "count"), NUMBERS.items())
def test_the_number_of_distinct_subnetworks(name, count):
    with torch.device("meta"):
        backbone = create_backbone(name)
    space = backbone.width_space()
    assert len(space) == count
    assert len({backbone.channels(w) for w in np.linspace(0.25, 1, 20001)}) == count


@given(st.floats(0.25, 1.0))
def test_a_snapped_width_has_the_same_channels(width):
    backbone = create_backbone("resnet50", base_channels=16)
    assert backbone.channels(backbone.width_space().snap(width)) == backbone.channels(width)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vit_small"])
def test_short_names_stand_for_the_same_sub_networks(name):
    with torch.device("meta"):
        backbone = create_backbone(name)
    space = backbone.width_space(0.3, 0.95)
    short = space.short_names()
    assert [space.snap(width) for width in short] == list(space.names)
    assert sum(len(str(width)) for width in short) < sum(len(str(width)) for width in space.names)
    assert backbone.width_space(0.5, 0.5).short_names() == [0.5]


def test_the_draw_has_the_distribution_of_a_uniform_width():
    backbone = create_backbone("resnet18", base_channels=16)
    low, high, count = 0.5, 1.0, 20000
    drawn = backbone.width_space().draw(count, low, high, seed=1, iteration=7)
    uniform = np.linspace(low, high, 200001)
    for channels in {backbone.channels(w) for w in uniform[::100]}:
        expected = np.mean([backbone.channels(w) == channels for w in uniform[::50]])
        got = np.mean([backbone.channels(w) == channels for w in drawn])
        assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / count) + 1e-3)


@pytest.mark.parametrize(
    ("name", "options", "high"),
    [("vit_tiny", {}, 0.8125), ("convnextv2_atto", {}, 0.75), ("resnet18", {"base_channels": 44}, 1.0)],
)
def test_a_range_that_ends_where_a_width_rounds_up_keeps_the_network_below(name, options, high):
    """The one at the end is there to be run as the largest, and has no share of the draws."""
    with torch.device("meta"):
        backbone = create_backbone(name, **options)
    low = 0.25
    space, uniform = backbone.width_space(low, high), np.linspace(low, high, 20001)
    assert space.snap(high) == high and len(space) == len({backbone.channels(w) for w in uniform})
    for width in uniform[::7]:
        assert backbone.channels(space.snap(width)) == backbone.channels(width)
    assert [space.snap(width) for width in space.short_names()] == list(space.names)
    below = backbone.channels(high - 1e-6)
    assert below != backbone.channels(high)
    drawn = space.draw(20000, low, high, seed=1, iteration=7)
    expected = np.mean([backbone.channels(w) == below for w in uniform])
    assert np.mean([backbone.channels(w) == below for w in drawn]) == pytest.approx(expected, abs=0.015)


def test_the_draw_is_a_function_of_seed_and_iteration():
    space = create_backbone("resnet18").width_space()
    assert space.draw(3, 0.25, 1, 5, 9) == space.draw(3, 0.25, 1, 5, 9)
    assert space.draw(3, 0.25, 1, 5, 9) != space.draw(3, 0.25, 1, 5, 10)
    assert space.draw(3, 0.25, 1, 5, 9) != space.draw(3, 0.25, 1, 6, 9)


def test_the_draw_stays_in_its_range():
    backbone = create_backbone("resnet18")
    lowest = backbone.channels(0.75)
    for iteration in range(200):
        for width in backbone.width_space().draw(2, 0.75, 1.0, 0, iteration):
            assert backbone.channels(width).outer >= lowest.outer


def test_a_coarser_space_holds_few_widths_each_drawn_for_those_it_is_nearest_of():
    space = create_backbone("resnet18").width_space()
    coarse = space.coarser(0.25)
    assert [round(width, 2) for width in coarse.names] == [0.25, 0.5, 0.75, 1.0]
    drawn = np.round(coarse.draw(20000, 0.25, 1.0, seed=1, iteration=7), 2)
    shares = [np.mean(drawn == width) for width in (0.25, 0.5, 0.75, 1.0)]
    assert shares == pytest.approx([1 / 6, 1 / 3, 1 / 3, 1 / 6], abs=0.015)


def test_a_coarser_space_keeps_the_ends_of_its_range_and_draws_nothing_below_a_bound():
    coarse = create_backbone("resnet18").width_space(0.3, 1.0).coarser(0.25)
    assert [round(width, 2) for width in coarse.names] == [0.3, 0.5, 0.75, 1.0]
    assert set(np.round(coarse.draw(500, 0.6, 1.0, seed=1, iteration=7), 2)) == {0.6, 0.75, 1.0}
    with pytest.raises(UserError, match="a grid of widths 0 apart"):
        coarse.coarser(0)


def test_a_width_outside_the_range_is_refused():
    with pytest.raises(UserError, match="width 0.2 is outside the range 0.25 to 1"):
        create_backbone("resnet18").width_space().snap(0.2)
