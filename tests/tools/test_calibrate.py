"""Any width has a command: into the checkpoint, into a copy, or by the way where it is used."""

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from pretrain import load_universal
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config
from tests.programs import tool
from transfer.convert.load import load_plain
from transfer.results import read_results


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    pretrain(tiny_config(), folder, False, "cpu")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_widths_are_written_into_the_checkpoint_or_a_copy(run, tmp_path):
    before = (run / "universal.safetensors").read_bytes()
    copy = tmp_path / "copies" / "more.safetensors"
    done = tool("calibrate", run, "--widths", 0.33, 0.75, "--output", copy)
    assert done.returncode == 0, done.stderr
    assert "calibrated widths: 1, 0.75, 0.5, 0.33" in done.stdout and done.stdout.splitlines()[-1] == str(copy)
    assert (run / "universal.safetensors").read_bytes() == before
    done = tool("calibrate", run / "universal.safetensors", "--widths", 0.75, 0.33)
    assert done.returncode == 0, done.stderr
    assert (run / "universal.safetensors").read_bytes() == copy.read_bytes(), "the order of widths changes nothing"
    assert load_universal(copy).calibration_of(0.33)["on"] == "pretraining"
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_width_that_is_missing_is_calibrated_where_it_is_used(run, tmp_path):
    done = tool("convert", run, "--width", 0.33, "--to", "safetensors", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "width 0.33 is not in the checkpoint: calibrating it on pretraining's 2 batches of 8 images" in done.stdout
    assert load_universal(run).calibrated_widths == [1.0, 0.5], "in memory, not in the file"


def test_where_the_data_are_gone_the_command_is_named(run, tmp_path):
    (run / "config.json").unlink()
    done = tool("convert", run, "--width", 0.33, "--to", "safetensors", "--output", tmp_path / "out")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "width 0.33 is not calibrated; calibrated widths: 1, 0.5" in done.stderr
    assert f"tools/calibrate.py {run}/universal.safetensors --widths 0.33 --data FOLDER" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--widths", 3], "width 3 is outside the range 0.25 to 1"),
        ([], "no width given; expected --widths"),
    ],
)
def test_a_mistake_is_one_line_and_the_file_stays(run, args, message):
    before = (run / "universal.safetensors").read_bytes()
    done = tool("calibrate", run, *args)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and message in done.stderr
    assert (run / "universal.safetensors").read_bytes() == before


def test_a_plan_by_stage_is_calibrated_converted_evaluated_timed_and_embedded_like_a_width(run, tmp_path):
    """base_channels 8: only the widest stages have a choice."""
    plan = "r18-8.8.16.40"
    done = tool("calibrate", run, "--width", plan)
    assert done.returncode == 0, done.stderr
    assert f"calibrated widths: 1, 0.5, {plan}" in done.stdout
    assert load_universal(run).calibration_of(load_universal(run).width(plan))["on"] == "pretraining"
    (tmp_path / "plan.json").write_text(f'{{"plan": "{plan}"}}')
    out = tmp_path / "out"
    done = tool("convert", run, "--width", tmp_path / "plan.json", "--to", "safetensors", "--output", out)
    assert done.returncode == 0, done.stderr
    net = load_universal(run)
    expected = net.extract(net.width(plan)).state_dict()
    [file] = out.glob("*.safetensors")
    assert all((tensor == expected[name]).all() for name, tensor in load_file(file).items())
    assert load_plain(file).channels == net.backbone.channels(net.width(plan))
    done = tool(
        "transfer", "digits", "--checkpoint", run, "--width", plan, 1.0, "--protocol", "knn",
        "--output", tmp_path / "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {record["method"]: record for record in read_results(tmp_path / "results")}
    assert found["us3l by stage"]["details"]["plan"] == plan and "plan" not in found["us3l"]["details"]
    assert found["us3l by stage"]["params"] == net.cost(net.width(plan)).params != found["us3l"]["params"]
    done = tool("latency", run, "--width", plan, "--image-size", 16, "--runtimes", "torch", "--repeats", 1)
    assert done.returncode == 0 and f"| {plan} |" in done.stdout, done.stderr
    (tmp_path / "photographs").mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (80 * number, 9, 9)).save(tmp_path / f"photographs/{number}.png")
    done = tool(
        "embed", tmp_path / "photographs", "--checkpoint", run, "--width", plan, "--output", tmp_path / "features"
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "features/features.npz") as arrays:
        assert arrays[plan].shape == (3, 40)


def test_a_tool_that_takes_no_plans_says_so_in_a_line(run):
    done = tool("verdict", run, "--width", "r18-8.8.16.40")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "invalid float value: 'r18-8.8.16.40'" in done.stderr
