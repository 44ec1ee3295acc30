"""The share of its time that the loop waits for data."""

import json
import re
import time

import pytest
import torch

from pretrain.data.loader import CutViews
from pretrain.objectives.step import Term
from pretrain.run.distributed import World
from pretrain.run.reporting import Interval, TimeLeft, timed
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config

PAUSE = 0.05


def slow(count: int):
    for number in range(count):
        time.sleep(PAUSE)
        yield number


def test_each_batch_comes_with_the_seconds_that_it_took_to_come():
    found = []
    for number, waited in timed(slow(3)):
        found.append(number)
        assert PAUSE <= waited < 10 * PAUSE
        time.sleep(2 * PAUSE)  # what the loop does meanwhile is no waiting
    assert found == [0, 1, 2]
    assert all(waited < PAUSE for _, waited in timed([1, 2]))


def test_an_interval_gives_the_share_and_the_rate():
    interval = Interval()
    interval.started -= 10.0
    interval.iterations, interval.waited = 5, 2.5
    assert interval.pace(batch_size=8) == {
        "images_per_second": pytest.approx(4.0, abs=0.1), "waiting": pytest.approx(0.25, abs=0.005),
    }  # fmt: skip


def test_a_run_writes_it_into_the_log_and_prints_it(tmp_path, monkeypatch, capsys):
    """Loading sleeps, so that the share is far from none; the machine decides how far."""
    fast = CutViews.__getitems__

    def starving(self, keys):
        time.sleep(PAUSE)
        return fast(self, keys)

    monkeypatch.setattr(CutViews, "__getitems__", starving)
    pretrain(tiny_config(training={"log_interval": 2, "iterations": 4}), tmp_path, False, "cpu")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    printed = [int(share) for share in re.findall(r"waiting (\d+) %", capsys.readouterr().out)]
    assert printed == [round(100 * line["waiting"]) for line in lines]
    seconds = [line["seconds"] - before for line, before in zip(lines, [0, *(line["seconds"] for line in lines)])]
    assert all(line["waiting"] * passed > 1.5 * PAUSE for line, passed in zip(lines, seconds))
    assert all(line["waiting"] < 1 for line in lines)


def test_an_interval_goes_on_after_a_checkpoint_in_its_middle():
    terms = [Term("base", 1.0, torch.tensor(k / 7)) for k in range(4)]
    whole, first = Interval(), Interval()
    for iteration, term in enumerate(terms):
        whole.add(iteration, [term])
        if iteration < 2:
            first.add(iteration, [term])
    second = Interval(first.state())
    for iteration in (2, 3):
        second.add(iteration, [terms[iteration]])
    alone = World(0, 1, torch.device("cpu"))
    assert second.close(alone) == whole.close(alone)
    second.started -= 10.0
    assert second.pace(batch_size=5)["images_per_second"] == pytest.approx(1.0, abs=0.1), "of this process alone"


def test_time_left_weighs_what_is_left():
    """Ten iterations of one unit took 10 s; the other ten cost three units each."""
    left = TimeLeft(lambda a, b: sum(1 if t < 10 else 3 for t in range(a, b)), 0, 20)
    assert left.after(0) is None and left.text(0) == "?"
    left.begun -= 10.0
    assert left.after(10) == pytest.approx(30, abs=0.1) and left.text(10) == "0:00:30"


def test_a_learning_rate_that_is_small_is_not_printed_as_nothing(tmp_path, capsys):
    pretrain(tiny_config(optimizer={"lr": 1e-5}), tmp_path, False, "cpu")
    printed = capsys.readouterr().out
    assert "lr 0.0000" not in printed and re.search(r"lr 1.52e-07", printed) and " left" in printed
