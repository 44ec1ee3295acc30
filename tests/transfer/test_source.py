"""Where weights come from: the newest checkpoint unless one is named, or random ones of the same architecture."""

import os

import pytest
import torch

from pretrain.common.errors import UserError
from transfer.source import Source, find_checkpoint, load_source


@pytest.fixture
def runs(network, tmp_path):
    """Two run folders; ``young`` is the newer."""
    for age, name in ((100, "old"), (1, "young")):
        path = network.save(tmp_path / "runs" / name / "universal.safetensors")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return tmp_path / "runs"


def test_the_newest_is_found(runs):
    assert find_checkpoint(None, runs) == runs / "young" / "universal.safetensors"


def test_a_file_or_its_run_folder_can_be_named(runs):
    file = runs / "old" / "universal.safetensors"
    assert find_checkpoint(file, runs) == file
    assert find_checkpoint(runs / "old", runs) == file


def test_nothing_to_be_found_is_one_line(runs, tmp_path):
    with pytest.raises(UserError, match="pretrain first"):
        find_checkpoint(None, tmp_path / "empty")
    with pytest.raises(UserError, match=r"did you mean '.*old/universal\.safetensors'"):
        find_checkpoint(runs / "odl" / "universal.safetensors", runs)


def test_pretrained_weights_carry_their_hash_and_history(runs, network):
    source = load_source(runs / "old" / "universal.safetensors")
    assert (source.method, source.checkpoint_hash, source.backbone) == ("us3l", network.hash, "resnet18")
    assert source.pretraining["data"]["name"] == "noise" and not source.is_random


def test_random_weights_are_drawn_by_the_seed_and_have_no_history(runs, network):
    path = runs / "old" / "universal.safetensors"
    first, again, other = (load_source(path, "random", seed) for seed in (0, 0, 1))
    assert first.is_random and first.checkpoint_hash is None and first.pretraining is None
    assert first.net.hash == again.net.hash != other.net.hash != network.hash
    assert first.net.calibrated_widths == []


@pytest.mark.parametrize("width", [1.0, 0.5, 0.3])
def test_a_seed_is_one_random_network_for_recognition_and_for_detection(runs, width):
    """Every width is cut out of it; statistics are a new network's until images calibrated them."""
    source = load_source(runs / "old" / "universal.safetensors", "random", 4)
    before = source.plain(width)
    assert before.bn1.running_mean.abs().max() == 0 and (before.layer4[1].bn2.running_var == 1).all()
    source.net.calibrate([torch.randn(16, 3, 16, 16)], [width])
    after, recognised = source.plain(width), source.net.extract(width)
    for name, parameter in before.named_parameters():
        assert torch.equal(parameter, after.get_parameter(name)), name
    assert all(torch.equal(value, recognised.state_dict()[name]) for name, value in after.state_dict().items())
    assert torch.equal(before.conv1.weight, source.plain(1.0).conv1.weight[: len(before.conv1.weight)])


def test_what_is_random_is_said_by_the_missing_checkpoint_not_by_a_name(network):
    """A stranger's network whose method is called ``random`` is its own weights, not new ones under its hash."""
    source = Source(network, "random", network.hash)
    assert not source.is_random and torch.equal(source.plain(0.5).conv1.weight, network.extract(0.5).conv1.weight)


def test_an_unknown_start_and_a_foreign_file_are_one_line(runs, tmp_path):
    with pytest.raises(UserError, match="did you mean 'random'"):
        load_source(runs / "old" / "universal.safetensors", "randm")
    foreign = tmp_path / "foreign.safetensors"
    torch.save({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(UserError, match="universal checkpoint"):
        load_source(foreign)
