"""The universal checkpoint: round trip, refusals, and no silent wrong answer."""

import json

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from pretrain import UncalibratedWidthError, UserError, load_universal
from tests.pretrain.helpers import universal


@pytest.fixture
def net():
    return universal(base_channels=8, widths=(1.0, 0.5, 0.3))


def test_a_loaded_network_computes_the_same(net, tmp_path):
    loaded = load_universal(net.save(tmp_path / "universal.safetensors"))
    images = torch.randn(2, 3, 32, 32)
    for width in (1.0, 0.5, 0.3):
        assert torch.equal(loaded(images, width=width), net(images, width=width))
    assert loaded.metadata == net.metadata
    assert loaded.hash == net.hash
    assert loaded.calibrated_widths == [1.0, 0.5, 0.3]


def test_the_same_network_gives_the_same_bytes(net, tmp_path):
    first, second = net.save(tmp_path / "a.safetensors"), net.save(tmp_path / "b.safetensors")
    assert first.read_bytes() == second.read_bytes()
    assert load_universal(first).save(tmp_path / "c.safetensors").read_bytes() == first.read_bytes()


def test_metadata_is_sorted_json_under_one_key(net, tmp_path):
    with safetensors.safe_open(net.save(tmp_path / "u.safetensors"), "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["us3l"]
    values = json.loads(metadata["us3l"])
    assert list(values) == sorted(values)
    assert values["format"] == 1


def test_an_uncalibrated_width_is_an_error_that_names_the_calibrated_ones(net):
    images = torch.randn(1, 3, 32, 32)
    for use in (lambda: net(images, width=0.8), lambda: net.extract(0.8)):
        with pytest.raises(
            UncalibratedWidthError, match=r"width 0.8 is not calibrated; calibrated widths: 1, 0.5, 0.3"
        ):
            use()


def test_a_width_outside_the_range_is_an_error(net):
    with pytest.raises(UserError, match="width 1.5 is outside the range 0.25 to 1"):
        net(torch.randn(1, 3, 32, 32), width=1.5)


def test_a_width_can_be_calibrated_later(net):
    net.calibrate([torch.randn(4, 3, 32, 32), torch.randn(2, 3, 32, 32)], widths=[0.8], seed=5)
    assert net(torch.randn(2, 3, 32, 32), width=0.8).shape == (2, net.backbone.num_features(0.8))
    assert net.calibrated_widths == [1.0, 0.8, 0.5, 0.3]
    assert net.calibration_of(0.8) == {"batch_size": 4, "batches": 2, "seed": 5}


def test_a_later_calibration_leaves_the_records_of_earlier_widths(net, tmp_path):
    first = {"batch_size": 4, "batches": 1}
    assert [net.calibration_of(w) for w in (1.0, 0.5, 0.3)] == [first] * 3
    net.calibrate([torch.randn(2, 3, 32, 32)] * 3, widths=[0.8, 0.3], data="flowers")
    net = load_universal(net.save(tmp_path / "u.safetensors"))
    later = {"batch_size": 2, "batches": 3, "data": "flowers"}
    assert [net.calibration_of(w) for w in (1.0, 0.8, 0.5, 0.3)] == [first, later, first, later]
    assert {key: net.metadata["calibration"][key] for key in first} == first, "the pretraining's own, at the top"


def test_widths_of_the_same_channels_share_one_record(net):
    assert net.backbone.channels(0.501).key == net.backbone.channels(0.5).key
    net.calibrate([torch.randn(2, 3, 32, 32)], widths=[0.501], data="flowers")
    assert net.calibration_of(0.5) == net.calibration_of(0.501)
    assert net.calibration_of(0.5)["data"] == "flowers"


def test_a_file_of_one_record_for_all_widths_can_be_read_and_calibrated_further(net):
    del net.metadata["calibration"]["by_width"]
    old = {"data": "digits", "batch_size": 4, "batches": 1}
    assert net.calibration_of(0.5) == old
    net.calibrate([torch.randn(2, 3, 32, 32)], widths=[0.8])
    assert (net.calibration_of(0.5), net.calibration_of(0.8)) == (old, {"batch_size": 2, "batches": 1})


def test_statistics_of_other_weights_are_refused(net, tmp_path):
    path = net.save(tmp_path / "u.safetensors")
    tensors = load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors["backbone.conv1.weight"] += 1
    save_file(tensors, path, metadata)
    with pytest.raises(UserError, match="not those that the statistics were calibrated for"):
        load_universal(path)


def test_weights_that_changed_after_calibration_are_neither_saved_nor_extracted(net, tmp_path):
    with torch.no_grad():
        net.backbone.conv1.weight.mul_(3)
    for use in (lambda: net.save(tmp_path / "u.safetensors"), lambda: net.extract(0.5)):
        with pytest.raises(UncalibratedWidthError, match="weights have changed since calibration"):
            use()
    net.statistics.clear()
    net.calibrate([torch.randn(4, 3, 32, 32)], widths=[0.5])
    assert net.extract(0.5) and net.save(tmp_path / "u.safetensors")
    assert net.calibrated_widths == [0.5], "the widths that were cleared are not claimed"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not safetensors at all", b"\xff" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "universal.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no universal checkpoint"):
        load_universal(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="without the key 'us3l'"):
        load_universal(tmp_path / "x.safetensors")


def test_a_file_of_another_format_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"us3l": "{}"})
    with pytest.raises(UserError, match="no universal checkpoint of format 1: its format is None"):
        load_universal(tmp_path / "x.safetensors")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_universal(tmp_path / "none.safetensors")


def test_a_truncated_file_is_refused(net, tmp_path):
    path = net.save(tmp_path / "u.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is no universal checkpoint"):
        load_universal(path)


def test_reinitialised_has_other_weights_and_nothing_calibrated(net):
    fresh = net.reinitialised(seed=3)
    assert fresh.hash != net.hash
    assert fresh.hash == net.reinitialised(seed=3).hash != net.reinitialised(seed=4).hash
    assert fresh.calibrated_widths == []
    assert fresh.metadata["method"] == "random"
    with pytest.raises(UncalibratedWidthError, match="calibrated widths: none"):
        fresh.extract(1.0)
