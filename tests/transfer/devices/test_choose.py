"""The best width under a budget: fitted between measurements, timed itself, never above what was allowed."""

import csv
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from tests.programs import ROOT, python, tool
from tests.requirements import requires
from transfer.devices.budget import Budget, within
from transfer.devices.choose import candidates, choose, probes
from transfer.devices.elsewhere import network_of, read_times, write_models
from transfer.devices.fit import fit, spread
from transfer.source import Source
from transfer.validation import Validation


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    net = universal(base_channels=16, widths=(1.0, 0.75, 0.5, 0.25))
    return Source(net, "us3l", net.hash)


@pytest.fixture(scope="module")
def seen():
    labels = torch.arange(24) % 2
    images = (torch.randint(0, 40, (24, 3, 16, 16)) + 120 * labels[:, None, None, None]).to(torch.uint8)
    return Validation("two", images[:12], labels[:12], images[12:], labels[12:], 2, (0.5,) * 3, (0.5,) * 3)


def quiet(line: str) -> None:
    pass


class TestFit:
    def test_a_law_of_overhead_width_and_macs_is_found_from_few_points(self):
        def macs(width: float) -> float:
            return 7.5 * width**2 + 2 * width

        law = {w: 1.5 + 4 * w + 0.9 * macs(w) for w in (0.25, 0.5, 0.75, 1.0)}
        found = fit(law, macs)
        for width in (0.3, 0.62, 0.9):
            assert found(width) == pytest.approx(1.5 + 4 * width + 0.9 * macs(width), rel=1e-6)

    def test_it_never_falls_with_the_width(self):
        found = fit({0.25: 9.0, 0.5: 5.0, 0.75: 6.0, 1.0: 3.0}, lambda width: width**2)
        times = [found(width) for width in np.linspace(0.25, 1, 20)]
        assert times == sorted(times) and min(found.weights) >= 0

    def test_probes_span_the_range_and_the_held_out_are_others(self, source):
        widths = candidates(source)
        fitted, held = probes(widths)
        assert fitted[0] == 0.25 and fitted[-1] == 1 and len(fitted) == 4
        assert len(held) == 2 and not set(held) & set(fitted) and {*held, *fitted} <= set(widths)
        assert spread([0.25, 0.5, 1.0], 4) == [0.25, 0.5, 1.0]


class TestBudget:
    def test_several_budgets_hold_at_once(self):
        cost = {1.0: {"macs": 10, "params": 1}, 0.5: {"macs": 4, "params": 0.6}, 0.25: {"macs": 2, "params": 0.2}}
        assert within(Budget(macs=5), list(cost), cost.get) == [0.5, 0.25]
        assert within(Budget(macs=5, params=0.5), list(cost), cost.get) == [0.25]

    def test_one_that_no_width_meets_names_the_nearest(self):
        with pytest.raises(UserError, match=r"no width .*nearest is 0.25 with 2 M MACs \(budget 1\)"):
            within(Budget(macs=1), [0.25, 1.0], lambda width: {"macs": 8 * width})

    @pytest.mark.parametrize(("given", "message"), [({}, "no budget given"), ({"latency": 0}, "number above 0")])
    def test_no_budget_is_one_line(self, given, message):
        with pytest.raises(UserError, match=message):
            Budget(**given)


class TestChoice:
    def test_the_widest_that_keeps_within_is_timed_and_gives_way_if_the_fit_was_wrong(self, seen):
        net = universal(base_channels=8, widths=())
        source = Source(net, "us3l", net.hash)
        net.calibrate([torch.randn(4, 3, 16, 16)], candidates(source))
        asked = []

        def times(widths) -> dict[float, float]:
            asked.append(list(widths))
            return {w: 10 * w * (1.0 if len(asked) == 1 else 1.3) for w in widths}  # slower than the fit says

        found = choose(source, Budget(latency=6), replace(seen, classes=0), 16, times, say=quiet)
        assert found.cost["latency"] <= 6 and found.width in found.times and found.times[found.width] <= 6
        assert len(asked) > 1 and len(asked[0]) == 6  # the fit and the check, then answers one at a time
        assert any(error == pytest.approx(0.3, abs=0.01) for error in found.checked.values())
        assert not [w for w in candidates(source) if found.width < w and found.times.get(w, 13 * w) <= 6]

    def test_of_equal_accuracy_the_narrower_is_chosen_and_without_labels_the_widest(self, source, seen):
        budget = Budget(params=source.net.cost(0.75).params / 1e6)
        found = choose(source, budget, seen, 16, say=quiet)
        assert set(found.top1) == {0.75, 0.5, 0.25} and found.width == 0.25
        unlabelled = replace(seen, classes=0)
        found = choose(source, budget, unlabelled, 16, say=quiet)
        assert found.width == 0.75 and json.dumps(found.record())

    def test_a_width_without_statistics_is_left_out_where_they_cannot_be_had(self, source, seen):
        said = []
        found = choose(source, Budget(params=source.net.cost(0.7).params / 1e6), seen, 16, say=said.append)
        assert found.width in (0.5, 0.25) and any("is left out" in line for line in said)


@requires("formats")
def test_a_device_elsewhere_times_the_models_with_numpy_and_its_runtime_alone(source, seen, tmp_path, monkeypatch):
    for module in ("elsewhere", "choose"):
        monkeypatch.setattr(f"transfer.devices.{module}.probes", lambda widths: ([0.25, 1.0], [0.5]))
    script, plan = write_models(source, "onnxruntime", 16, tmp_path / "device")
    source_text = script.read_text()
    assert "torch" not in source_text and "transfer" not in source_text
    code = (
        "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = python(code, script, "--repeats", 2, cwd="/")
    assert done.returncode == 0, done.stderr
    told = read_times(tmp_path / "device/times.csv", [0.25, 0.5, 1.0], "onnxruntime", 16, network_of(source))
    assert set(told) == {0.25, 0.5, 1.0} and json.loads(plan.read_text())["runtime"] == "onnxruntime"

    def times(widths) -> dict[float, float]:
        return {width: told[width] for width in widths}

    found = choose(source, Budget(latency=1e6), seen, 16, times, again=False, say=quiet)
    assert set(found.checked) == {0.5} and found.times == told


def test_times_that_are_none_or_of_something_else_are_one_line(source, tmp_path):
    path = tmp_path / "times.csv"
    with pytest.raises(UserError, match="holds no times"):
        read_times(path, [1.0], "ncnn", 16, "a")
    with open(path, "w", newline="") as file:
        header = ["width", "median", "runtime", "image_size", "network"]
        csv.writer(file).writerows([header, [0.5, 3.0, "ncnn", 16, "a"]])
    assert read_times(path, [0.5], "ncnn", 16, "a") == {0.5: 3.0}
    with pytest.raises(UserError, match="no times of width 1;"):
        read_times(path, [0.5, 1.0], "ncnn", 16, "a")
    with pytest.raises(UserError, match="has times of ncnn at 16 px; expected ncnn at 32 px"):
        read_times(path, [0.5], "ncnn", 32, "a")
    with pytest.raises(UserError, match="has times of a; expected b"):
        read_times(path, [0.5], "ncnn", 16, "b")
    other = Source(universal("resnet34", base_channels=16, widths=()), "us3l", "")
    assert network_of(other) != network_of(source)
    with pytest.raises(UserError, match="executorch needs torch"):
        write_models(source, "executorch", 16, tmp_path)


@pytest.mark.parametrize(
    ("runtime", "int8", "data", "options"),
    [
        ("torch", False, "my images", "safetensors"),
        ("onnxruntime", False, None, "onnx --image-size 96"),
        ("openvino", True, "my images", "openvino --image-size 96 --int8 --data 'my images'"),
    ],
)
def test_the_command_that_converts_the_answer_writes_what_was_judged(runtime, int8, data, options, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    conversion = runpy.run_path(str(ROOT / "tools" / "choose.py"))["conversion"]
    asked = SimpleNamespace(checkpoint=Path("run"), image_size=96, int8=int8, data=data and Path(data))
    assert conversion(asked, runtime, 0.5) == f"tools/convert.py run --width 0.5 --to {options}"


def test_the_tool_answers_as_json_and_a_mistake_is_one_line(source, tmp_path):
    checkpoint = source.net.save(tmp_path / "universal.safetensors")
    done = tool("choose", checkpoint, "--image-size", 16, "--macs", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cost"]["macs"] <= 1 and found["top1"][f"{found['width']:g}"] > 0
    done = tool("choose", checkpoint, "--image-size", 16, "--macs", 0.0001)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "no width keeps within the budget; the nearest is 0.25" in done.stderr
