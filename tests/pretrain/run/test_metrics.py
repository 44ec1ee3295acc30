"""The log of a run: what lies beyond its checkpoint is cut off in one step, and nothing else is lost."""

import json
import os

import pytest

from pretrain.run.metrics import MetricsLog


def lines(folder) -> list[int]:
    return [json.loads(line)["iteration"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder, numbers, end="\n") -> None:
    text = "\n".join(json.dumps({"iteration": n, "seconds": n / 2}) for n in numbers)
    (folder / "metrics.jsonl").write_text(text + end)


def test_lines_beyond_the_checkpoint_are_cut_off(tmp_path):
    write(tmp_path, [2, 4, 6, 8], end='\n{"iteration": 1')
    with MetricsLog(tmp_path, 6) as log:
        assert lines(tmp_path) == [2, 4, 6] and log.seconds == 3.0
        log.write({"iteration": 8, "seconds": 4.0})
    assert lines(tmp_path) == [2, 4, 6, 8]


def test_a_run_that_is_killed_while_it_cuts_has_lost_no_line(tmp_path, monkeypatch):
    write(tmp_path, range(160))
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def killed(*args, **kwargs):
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        MetricsLog(tmp_path, 100)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
