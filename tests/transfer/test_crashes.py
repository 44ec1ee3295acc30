"""SIGKILL while a command writes: the same command again ends with the files of one that was never disturbed."""

import pytest

from pretrain.train import pretrain
from tests.crashes import crash, files, results
from tests.pretrain.helpers import tiny_config


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a short pretraining on digits."""
    return pretrain(tiny_config(), tmp_path_factory.mktemp("run"), False, "cpu")


def test_calibration_into_a_copy(checkpoint, tmp_path):
    def command(name):
        return [checkpoint, "--widths", 0.33, "--output", tmp_path / name / "more.safetensors"]

    crash("tools.calibrate", command("whole"), command("killed"))
    assert files(tmp_path / "whole") == files(tmp_path / "killed") != {}


def test_conversion(checkpoint, tmp_path):
    def command(name):
        return [checkpoint, "--width", 0.5, "--to", "timm", "--output", tmp_path / name]

    crash("tools.convert", command("whole"), command("killed"))
    assert files(tmp_path / "whole") == files(tmp_path / "killed") != {}


def test_recognition_and_its_cache_of_features(checkpoint, image_folder, tmp_path):
    def command(name):
        out = tmp_path / name
        return ["folder", "--checkpoint", checkpoint, "--data", image_folder, "--widths", 1.0, 0.5, "--output", out]

    crash("transfer.command", command("whole"), command("killed"))
    assert results(tmp_path / "whole") == results(tmp_path / "killed") != {}
    whole, killed = (files(tmp_path / name, but=("result.json",)) for name in ("whole", "killed"))
    assert whole == killed


def test_tables(checkpoint, make_result, tmp_path):
    make_result().write(tmp_path / "results")
    crash("tools.tables", *([tmp_path / "results", "--output", tmp_path / name] for name in ("whole", "killed")))
    assert files(tmp_path / "whole") == files(tmp_path / "killed") != {}
