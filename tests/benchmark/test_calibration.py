"""Calibration in one pass beside a pass for each width: what is run, and that both give the same statistics."""

import argparse

import pytest
import torch

from benchmark import calibration
from pretrain.common.cli import Parser
from pretrain.common.errors import UserError

TINY = ["--base-channels", "8", "--image-size", "16", "--batch", "8", "--batches", "2", "--repeats", "2"]


def options(*arguments: str) -> argparse.Namespace:
    parser = Parser("", "")
    calibration.add_arguments(parser)
    args = parser.parse_args([*TINY, *arguments])
    args.device = "cpu"
    return args


def test_both_arrangements_give_equal_statistics_and_are_compared():
    found = calibration.measure(options("--widths", "1", "0.5"))
    one, each = found["rows"]
    assert one["seconds"] > 0 and each["ratio"] == each["seconds"] / one["seconds"]
    assert found["largest_difference_of_statistics"] == 0
    assert found["title"] == "Calibration of 2 widths of resnet18, 2 batches of 8" and found["data"] == "digits"


def test_one_arrangement_passes_over_the_data_once_and_the_other_once_for_each_width(monkeypatch):
    passes, real = [], calibration.one_pass
    monkeypatch.setattr(calibration, "one_pass", lambda *args: passes.append(args[-1]) or real(*args))
    calibration.measure(options("--widths", "1", "0.5"))
    assert passes == [[1, 0.5], *[[1, 0.5], [1], [0.5]] * 2], "a warm-up, then both in turn"


def test_a_difference_would_be_seen():
    one = {"a": {"bn": (torch.zeros(2), torch.ones(2))}}
    other = {"a": {"bn": (torch.zeros(2), torch.tensor([1.0, 1.25]))}}
    assert calibration.largest_difference(one, other) == 0.25 and calibration.largest_difference(one, one) == 0


def test_the_papers_nine_widths_are_the_default():
    assert options().widths == (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batches", "0"], "--batches 0 is too small; expected 1 or more"),
        (["--widths", "0.1"], "width 0.1 is outside the range 0.25 to 1"),
        (["--backbone", "resnet81"], "unknown backbone 'resnet81'"),
        (["--data", "nowhere"], "no such folder or file: nowhere"),
    ],
)
def test_a_mistake_is_one_line(arguments, line):
    with pytest.raises(UserError, match=line):
        calibration.measure(options(*arguments))
