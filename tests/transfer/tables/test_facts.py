"""What a result says of itself, and figures over seeds."""

import statistics
from dataclasses import asdict

import pytest

from transfer.tables.facts import facts
from transfer.tables.figure import figure, shown
from transfer.tables.table import MISSING


@pytest.fixture
def record(make_result):
    return lambda **changes: asdict(make_result(**changes))


def test_facts_of_the_pretraining_are_those_of_the_checkpoint(record):
    pretraining = {
        "epochs": 800.0, "data": {"name": "cifar100"}, "backbone": {"stem": "cifar"},
        "objective": {"base": "infonce", "aux_head": True, "momentum_base": False},
        "sampling": {"dynamic": True, "sandwich": False}, "optimizer": {"alpha": 0.05},
    }  # fmt: skip
    found = facts(record(details={"pretraining": pretraining}))
    expected = {
        "pretrained_on": "cifar100", "epochs": "800", "long": "yes", "base_loss": "infonce", "aux_head": "yes",
        "momentum_base": "no", "dynamic_sampling": "yes", "sandwich": "no", "group_reg": "yes", "width": "0.5",
        "stem": "cifar",
    }  # fmt: skip
    assert expected.items() <= found.items()
    assert facts(record(details={"pretraining": {"optimizer": {"alpha": 0}}}))["group_reg"] == "no"


def test_what_is_not_recorded_is_no_fact(record):
    found = facts(record(method="random", details={"pretraining": None}))
    assert not {"pretrained_on", "group_reg", "long", "base_loss"} & set(found)


def test_seeds_give_mean_and_sample_deviation_and_the_last_of_equal_seeds_counts(record):
    records = [
        record(seed=seed, metrics={"top1": value}) for seed, value in ((0, 1.0), (1, 60.0), (2, 63.0), (0, 57.0))
    ]
    found = figure(records, "top1")
    assert (found.mean, found.deviation, found.seeds) == (60.0, statistics.stdev([57, 60, 63]), 3)
    assert str(found) == "60.0 ± 3.0"


def test_seeds_of_pretraining_are_seeds_too(record):
    records = [
        record(seed=0, metrics={"top1": value}, details={"pretraining": {"seed": seed}})
        for seed, value in ((0, 1.0), (1, 3.0))
    ]
    assert figure(records, "top1").mean == 2.0


def test_a_single_seed_has_no_deviation_and_an_undefined_metric_is_missing(record):
    assert shown(figure([record(metrics={"top1": 60.04})], "top1")) == "60.0"
    assert shown(figure([record(metrics={"box/AP": None})], "box/AP")) == MISSING
    assert shown(figure([], "top1")) == MISSING
