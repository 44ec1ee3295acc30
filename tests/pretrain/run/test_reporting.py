"""The share of its time that the loop waits for data."""

import json
import re
import time

import pytest

from pretrain.data.loader import CutViews
from pretrain.run.reporting import Interval, timed
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
