"""Signs of collapse from the logs of runs: from where on one stays below its limit."""

import argparse
import json

import pytest

from benchmark import collapse
from pretrain.common.errors import UserError


def run(folder, name: str, spreads: list[float], rank: float = 9.0):
    (folder / name).mkdir()
    lines = [
        {"iteration": 10 * i, "1/spread": 0.9, "1/rank": 20.0, "0.25/spread": spread, "0.25/rank": rank}
        for i, spread in enumerate(spreads, 1)
    ]
    (folder / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / name


def rows(*runs, picture=None) -> list[dict]:
    return collapse.measure(argparse.Namespace(runs=list(runs), picture=picture))["rows"]


def test_a_width_has_collapsed_from_where_it_stays_below_the_limit(tmp_path):
    wide, narrow = rows(run(tmp_path, "falls", [0.8, 0.05, 0.3, 0.04, 0.02]))
    assert (wide["width"], wide["collapsed_at"], wide["spread"]) == ("1", None, 0.9)
    assert (narrow["collapsed_at"], narrow["spread"], narrow["least_spread"]) == (40, 0.02, 0.02)


def test_a_low_rank_is_a_collapse_whatever_the_spread(tmp_path):
    assert rows(run(tmp_path, "line", [0.9, 0.9], rank=1.2))[1]["collapsed_at"] == 10
    assert rows(run(tmp_path, "recovers", [0.01, 0.9]))[1]["collapsed_at"] is None


def test_a_picture_is_written_twice_with_the_same_bytes(tmp_path):
    runs = [run(tmp_path, name, [0.8, 0.5]) for name in ("a", "b")]
    for name in ("one", "other"):
        assert len(rows(*runs, picture=tmp_path / name / "collapse")) == 4
    assert (tmp_path / "one/collapse.svg").read_bytes() == (tmp_path / "other/collapse.svg").read_bytes()
    assert (tmp_path / "one/collapse.png").stat().st_size > 1000


def test_a_folder_without_a_log_is_one_line(tmp_path):
    with pytest.raises(UserError, match="has no metrics.jsonl"):
        rows(tmp_path)
