"""Every setting is described where it is read, and the page of all of them is current."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from pretrain.common.described import Setting, described
from pretrain.common.settings import PositiveInt, Share, settings
from pretrain.config import PretrainConfig
from pretrain.objectives import OBJECTIVES
from pretrain.settings_page import listing, page
from tests.pretrain.helpers import tiny_config


@settings
class Section:
    """Part of it. low, high: ends of a range. mode: what to
    do, ``fast`` or ``slow``; nothing else."""

    low: Share
    high: Annotated[float, Field(gt=0, lt=5)] = 1.5
    mode: Literal["fast", "slow"] = "fast"


@settings
class Whole:
    """count: how many: 1 at least. first: a section. second: another one."""

    first: Section
    second: Section
    count: PositiveInt | None = None


def test_a_dataclass_is_described_by_its_types_defaults_and_docstring():
    assert described(Whole) == [
        Setting("first.low", "number from 0 to 1", "", "ends of a range"),
        Setting("first.high", "number above 0 below 5", "1.5", "ends of a range"),
        Setting("first.mode", "fast \\| slow", "fast", "what to do, fast or slow; nothing else"),
        Setting("second", "the keys of first", "", "another one"),
        Setting("count", "whole number from 1 or None", "None", "how many: 1 at least"),
    ]


@pytest.mark.parametrize("kind", [PretrainConfig, *OBJECTIVES.values()], ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_means(kind):
    assert [row.key for row in described(kind) if not row.meaning] == []


def test_the_page_is_current(repository):
    assert (repository / "docs/settings.md").read_text() == page(), (
        "python -m pretrain.settings_page > docs/settings.md"
    )


def test_a_config_is_listed_with_its_values():
    found = listing(tiny_config())
    assert "training.batch_size = 8\n    whole number from 1; default 512. Images of an iteration" in found
    assert "objective.outputs = 8\n" in found
