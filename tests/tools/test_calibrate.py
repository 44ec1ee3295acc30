"""Any width has a command: into the checkpoint, into a copy, or by the way where it is used."""

import shutil

import pytest

from pretrain import load_universal
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config
from tests.programs import tool


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
