"""Latencies as results: with the accuracy of the same file, in the report, and read back as they were written."""

from dataclasses import replace

import pytest
import torch

from tests.pretrain.helpers import universal
from transfer.devices.accuracy import judged
from transfer.devices.figure import save_latencies
from transfer.devices.latency import conditions
from transfer.devices.results import latencies, write_results
from transfer.report import write_report
from transfer.results import read_results
from transfer.source import Source

PLAN = "r18-8.16.32.80"
SETTINGS = {"image_size": 16, "repeats": 2, "warm_up": 0, "threads": 1}


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    net = universal(base_channels=16, widths=())
    net.calibrate([torch.randn(4, 3, 32, 32)], [1.0, 0.5, net.width(PLAN)])
    return Source(net, "us3l", net.hash)


def test_results_of_widths_are_read_back_drawn_and_reported(source, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.devices.latency.peak_memory", lambda *arguments: 60_000_000)
    widths = [1.0, source.width(PLAN), 0.5]
    found, seen = judged(source, widths, ["torch", "torch int8"], [1, 2], SETTINGS, say=lambda line: None)
    assert seen.name == "digits" and all(0 < row.top1["torch"] <= 100 for row in found)
    where = conditions([1, 2], **SETTINGS, device="cpu", variants=["torch"])
    paths = write_results(found, where, source, seen, tmp_path / "runs")
    assert [str(path.parents[1].relative_to(tmp_path / "runs")) for path in paths] == [
        f"digits/device/width_{width}/torch" for width in ("1", PLAN, "0.5")
    ]
    assert write_results(found, where, source, seen, tmp_path / "runs") == paths, "done again"
    other = [*write_results(found, {**where, "threads": 2}, source, seen, tmp_path / "others")]
    another = Source(universal(base_channels=16, widths=(1.0, 0.5)), "byol", "b" * 64)
    other += write_results([found[0], found[2]], where, another, seen, tmp_path / "others")
    relabelled = replace(seen, labels=seen.labels.flip(0))
    other += write_results(found[:1], where, source, relabelled, tmp_path / "others")
    assert len(read_results(tmp_path / "others")) == len(other), "none has taken another's place"
    records = read_results(tmp_path / "runs")
    again = [{**record, "details": {**record["details"], "calibration": {"data": "others"}}} for record in records]
    assert [(name, len(rows)) for name, _, rows in latencies([*records, *again])] == [
        ("resnet18 on digits", 3), ("resnet18 on digits, statistics of others", 3)
    ]  # fmt: skip
    assert {record["method"]: record["details"].get("plan") for record in records} == {
        "us3l": None, "us3l by stage": PLAN,
    }  # fmt: skip
    [(name, told, rows)] = latencies(records)
    assert name == "resnet18 on digits" and told == where
    for row in found:
        row.refusals.clear()  # what could not be timed has no result
    assert rows == found
    page = write_report(tmp_path / "runs", tmp_path / "report.html").read_text()
    assert "On devices" in page and "peak MB" in page and "Bubbles: bytes" in page
    assert all(path.stat().st_size > 1000 for path in save_latencies(found, where, tmp_path))
