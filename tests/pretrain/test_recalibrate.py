"""Statistics of further widths are those that pretraining would have written."""

import json

import pytest
import torch

from pretrain import UserError, load_universal
from pretrain.recalibrate import pretraining_batches, recalibrate
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pretrain(tiny_config(), folder, False, "cpu")
    return folder


@pytest.fixture
def net(run):
    return load_universal(run)


def test_a_width_gets_the_numbers_that_its_run_would_have_written(run, net, tmp_path):
    recalibrate(net, [0.75], pretraining_batches(net, run))
    pretrain(tiny_config(calibration={"widths": (1.0, 0.75, 0.5)}), tmp_path, False, "cpu")
    other = load_universal(tmp_path)
    assert net.hash == other.hash and net.calibrated_widths == other.calibrated_widths == [1.0, 0.75, 0.5]
    assert net.metadata["calibration"] == other.metadata["calibration"]
    for key, layers in other.statistics.items():
        for name, moments in layers.items():
            assert all(torch.equal(a, b) for a, b in zip(net.statistics[key][name], moments, strict=True)), (key, name)


def test_gray_images_are_read_as_pretraining_read_them(tmp_path):
    gray = {"channels": 1, "mean": (0.3,), "std": (0.4,)}
    pretrain(tiny_config(data=gray), tmp_path / "two", False, "cpu")
    pretrain(tiny_config(data=gray, calibration={"widths": (1.0, 0.75, 0.5)}), tmp_path / "three", False, "cpu")
    net, other = load_universal(tmp_path / "two"), load_universal(tmp_path / "three")
    recalibrate(net, [0.75], pretraining_batches(net, tmp_path / "two"))
    assert net.metadata["calibration"] == other.metadata["calibration"]
    for key, layers in other.statistics.items():
        for name, moments in layers.items():
            assert all(torch.equal(a, b) for a, b in zip(net.statistics[key][name], moments, strict=True)), (key, name)


def test_data_that_are_not_the_pretrainings_are_refused(run, net, tmp_path):
    """Without the run's config nobody says that only four images of each digit were used."""
    with pytest.raises(UserError, match="'digits' has 1437 training images; expected the 40 of the pretraining"):
        pretraining_batches(net, tmp_path)
    net.metadata["data"]["name"] = "cifar10"
    with pytest.raises(UserError, match="expected data.root=FOLDER"):
        pretraining_batches(net, run)
    with pytest.raises(UserError, match="no such folder"):
        pretraining_batches(net, run, tmp_path / "none")


@pytest.mark.parametrize("content", ["", "[]", '{"data": 3}', "{"])
def test_a_config_that_says_nothing_is_as_good_as_none(run, net, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="has 1437 training images"):
        pretraining_batches(net, tmp_path)


def test_a_checkpoint_that_does_not_say_how_it_was_calibrated_is_refused_by_name(run, net):
    views = net.metadata["calibration"].pop("views")
    with pytest.raises(UserError, match="its calibration has no views"):
        pretraining_batches(net, run)
    net.metadata["calibration"]["views"] = {**views, "crop_scale": "all"}
    with pytest.raises(UserError, match="^the checkpoint's calibration.views: "):
        pretraining_batches(net, run)


def test_a_width_outside_the_range_is_refused_before_anything_is_read(net):
    with pytest.raises(UserError, match="width 2 is outside"):
        recalibrate(net, [2.0], None)
    assert json.dumps(net.metadata["calibration"]["widths"]) == "[1.0, 0.5]"
