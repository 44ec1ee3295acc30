"""Latency: taken in turns, after a warm-up, as a median; beside what the network costs."""

import json
import statistics

import pytest
import torch

from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from tests.programs import tool
from tests.requirements import requires
from transfer.devices.latency import conditions, interleaved, measure, processor, timing
from transfer.devices.table import latency_table
from transfer.devices.variants import chosen, with_int8
from transfer.tables import render


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return universal(stem="cifar", base_channels=8)


class TestInterleaving:
    def test_calls_take_turns_and_the_warm_up_does_not_count(self):
        order = []
        calls = {name: lambda name=name: order.append(name) for name in "abc"}
        seconds = interleaved(calls, repeats=2, warm_up=1)
        assert "".join(order) == "abc" * 3
        assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}

    def test_a_call_is_charged_with_its_own_time_alone(self):
        now = [0.0]
        calls = {"short": lambda: now.__setitem__(0, now[0] + 1), "long": lambda: now.__setitem__(0, now[0] + 5)}
        seconds = interleaved(calls, repeats=3, warm_up=0, clock=lambda: now[0])
        assert seconds == {"short": [1, 1, 1], "long": [5, 5, 5]}

    def test_the_median_and_the_outer_tenths_in_milliseconds(self):
        values = [0.001 * n for n in (4, 1, 100, 2, 3, 7, 5, 8, 6, 9, 10)]
        found = timing(values)
        assert found.median == pytest.approx(1e3 * statistics.median(values))
        assert (found.p10, found.p90) == pytest.approx((2, 10))
        assert timing([0.5]).median == timing([0.5]).p90 == 500


def test_torch_is_timed_at_each_width_and_its_threads_put_back(net):
    before = torch.get_num_threads()
    found = measure(
        {w: net.extract(w) for w in (1.0, 0.5)},
        net.metadata,
        image_size=16,
        repeats=3,
        warm_up=1,
        threads=before + 1,
        memory=False,
    )
    assert torch.get_num_threads() == before
    assert [row.width for row in found] == [1.0, 0.5]
    for row in found:
        cost = net.cost(row.width, image_size=16)
        assert (row.params, row.macs) == (cost.params, cost.macs)
        [found_at_1] = row.timings["torch"].values()
        assert set(row.timings) == {"torch"} and 0 < found_at_1.p10 <= found_at_1.median


def test_the_table_states_the_conditions(net):
    settings = {"batches": [1, 2], "image_size": 16, "repeats": 2, "warm_up": 0, "threads": 1}
    found = measure({0.5: net.extract(0.5)}, net.metadata, ["torch", "torch int8"], **settings)
    where = conditions(**settings, device="cpu", variants=["torch", "torch int8"])
    text = render(latency_table("resnet18", found, where), "markdown")
    assert processor() and processor() in text
    assert "images of 16 px" in text and "1 thread," in text and "batch 2 (ms)" in text and "onnxr" not in text
    assert "safetensors has no int8 here" in text  # in the place of its time
    assert found[0].memory["torch"] > 50e6  # Python with torch takes more


@requires("formats")
def test_the_tool_times_both_runtimes_and_writes_json(net, tmp_path):
    checkpoint = net.save(tmp_path / "universal.safetensors")
    options = ["--width", 0.33, "--image-size", 16, "--repeats", 2, "--warm-up", 1]
    done = tool("latency", checkpoint, *options, "--json", tmp_path / "latency.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "latency.json").read_text())
    assert record["checkpoint"] == net.hash and record["conditions"]["threads"] == 1
    [row] = record["widths"]
    assert set(row["timings"]) == {"torch", "onnxruntime"} and row["timings"]["onnxruntime"]["1"]["median"] > 0
    assert "onnxruntime" in done.stdout and done.stderr.splitlines()[-1] == str(tmp_path / "latency.json")


@pytest.mark.parametrize(("form", "first"), [("latex", "%"), ("csv", "width,runtime,params (M)")])
def test_a_table_in_latex_or_csv_is_all_that_is_printed(form, first, net, tmp_path):
    checkpoint = net.save(tmp_path / "universal.safetensors")
    options = ["--width", "0.5", "--image-size", "16", "--repeats", "1", "--warm-up", "0", "--format", form]
    done = tool("latency", checkpoint, *options, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(first) and "resnet18 of" in done.stderr


def test_a_mistake_is_one_line(net, tmp_path):
    checkpoint = net.save(tmp_path / "universal.safetensors")
    for options, message in (
        (["--width", "3"], "width 3 is outside"),
        (["--batch", "0"], "--batch 0 is too small"),
        (["--runtimes", "openvina"], "did you mean 'openvino'"),
    ):
        done = tool("latency", checkpoint, *options)
        assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


@requires("devices", "formats")
def test_what_a_runtime_cannot_do_is_said_in_its_cell(net, monkeypatch):
    settings = {"batches": [2], "image_size": 16, "repeats": 2, "warm_up": 0, "threads": 1}
    variants = ["torch", "onnxruntime int8", "ncnn"]

    def refused(*arguments):
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr("transfer.convert.ncnn.check", refused)
    [row] = measure({0.5: net.extract(0.5)}, net.metadata, variants, **settings, memory=False)
    assert set(row.timings) == set(row.sizes) == set(variants[:2]) and row.refusals == {"ncnn": "no such operator"}
    assert row.sizes["torch"] > 4 * row.params > row.sizes["onnxruntime int8"]
    where = conditions(**settings, device="cpu", variants=variants)
    assert "no such operator" in render(latency_table("r", [row], where), "markdown")


def test_a_runtime_that_is_not_installed_is_refused_with_the_line_for_pip(monkeypatch):
    monkeypatch.setattr("transfer.convert.find_spec", lambda name: None)
    assert chosen(None) == ["torch"] and with_int8(["torch"]) == ["torch", "torch int8"]
    with pytest.raises(UserError, match=r"openvino needs openvino; .*pip install '\.\[devices\]'"):
        chosen(["torch", "openvino"])
