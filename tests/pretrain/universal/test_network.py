"""The universal network: what it computes is what was saved, and there is no silent wrong answer."""

import os
import stat

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import pretrain
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
    assert net.calibration_of(0.8) == {"on": "other", "data": None, "batch_size": 4, "batches": 2, "seed": 5}


def test_a_later_calibration_leaves_the_records_of_earlier_widths(net, tmp_path):
    first = {"on": "other", "data": None, "batch_size": 4, "batches": 1}
    assert [net.calibration_of(w) for w in (1.0, 0.5, 0.3)] == [first] * 3
    net.calibrate([torch.randn(2, 3, 32, 32)] * 3, widths=[0.8, 0.3], data="flowers", on="target")
    net = load_universal(net.save(tmp_path / "u.safetensors"))
    later = {"on": "target", "data": "flowers", "batch_size": 2, "batches": 3}
    assert [net.calibration_of(w) for w in (1.0, 0.8, 0.5, 0.3)] == [first, later, first, later]
    assert {key: net.metadata["calibration"][key] for key in first} == first, "the pretraining's own, at the top"


def test_widths_of_the_same_channels_share_one_record(net):
    assert net.backbone.channels(0.501).key == net.backbone.channels(0.5).key
    net.calibrate([torch.randn(2, 3, 32, 32)], widths=[0.501], data="flowers")
    assert net.calibration_of(0.5) == net.calibration_of(0.501)
    assert net.calibration_of(0.5)["data"] == "flowers"


def test_a_file_of_one_record_for_all_widths_can_be_read_and_calibrated_further(net):
    del net.metadata["calibration"]["by_width"]
    old = {"on": "pretraining", "data": "digits", "batch_size": 4, "batches": 1}
    assert net.calibration_of(0.5) == old
    net.calibrate([torch.randn(2, 3, 32, 32)], widths=[0.8])
    new = {"on": "other", "data": None, "batch_size": 2, "batches": 1}
    assert (net.calibration_of(0.5), net.calibration_of(0.8)) == (old, new)


CHANGES = {
    "in place": lambda weight: weight.mul_(3),
    "past torch's counter": lambda weight: weight.data.mul_(3),
    "another tensor": lambda weight: setattr(weight, "data", weight * 3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_statistics_of_other_weights_are_never_used(net, tmp_path, change):
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        change(net.backbone.layer4[1].conv2.weight)
    for use in (
        lambda: net(images, 0.5), lambda: net.extract(0.5), lambda: net.save(tmp_path / "u.safetensors"),
        lambda: net.calibrate([images], 0.8),
    ):  # fmt: skip
        with pytest.raises(UncalibratedWidthError, match="weights have changed since calibration"):
            use()


def test_weights_that_are_written_anew_and_equal_are_no_change(net):
    net.backbone.load_state_dict({name: t.clone() for name, t in net.backbone.state_dict().items()})
    assert net(torch.randn(1, 3, 32, 32), 0.5).shape == (1, 32)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("foreach", [False, True])
def test_an_optimizer_step_is_a_change(net, optimizer, foreach):
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer(net.parameters(), lr=0.1, foreach=foreach).step()
    with pytest.raises(UncalibratedWidthError, match="weights have changed"):
        net(torch.randn(1, 3, 32, 32), 0.5)


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
    net.statistics.clear()
    with pytest.raises(UncalibratedWidthError, match="the statistics of width 0.5 are not there; calibrate first"):
        net.save(tmp_path / "none.safetensors")


def test_plans_that_were_cleared_are_not_claimed_either(net, tmp_path):
    chosen = net.width("r18-8.16.32.48")
    net.calibrate([torch.randn(4, 3, 32, 32)], widths=[chosen])
    net.statistics.clear()
    first = {key: net.metadata["calibration"][key] for key in ("on", "batch_size", "batches")}
    net.calibrate([torch.randn(2, 3, 32, 32)], widths=[0.5], on="target")
    again = load_universal(net.save(tmp_path / "u.safetensors"))
    assert (again.calibrated_widths, again.calibrated_plans) == ([0.5], [])
    assert {key: again.metadata["calibration"][key] for key in first} == first, "how pretraining calibrated"


def test_reinitialised_has_other_weights_and_nothing_calibrated(net):
    fresh = net.reinitialised(seed=3)
    assert fresh.hash != net.hash
    assert fresh.hash == net.reinitialised(seed=3).hash != net.reinitialised(seed=4).hash
    assert fresh.calibrated_widths == []
    assert fresh.metadata["method"] == "random"
    with pytest.raises(UncalibratedWidthError, match="calibrated widths: none"):
        fresh.extract(1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_half_precision_compute_are_extracted_and_saved(net, tmp_path, dtype):
    images = torch.randn(4, 3, 32, 32)
    full = net(images, 0.5)
    low = net.to(dtype)
    found = low(images.to(dtype), 0.5)
    assert found.dtype == dtype and torch.allclose(found.float(), full, rtol=0.1, atol=0.1 * full.abs().max())
    assert torch.equal(low.extract(0.5)(images.to(dtype)), found)
    low.calibrate([images.to(dtype)], 0.8)
    again = load_universal(low.save(tmp_path / "low.safetensors"))
    assert torch.equal(again(images.to(dtype), 0.5), found)


def test_statistics_that_fp16_cannot_hold_are_refused_there(net):
    for _, variance in net.statistics[net.backbone.channels(0.5).key].values():
        variance.fill_(1e6)
    with pytest.raises(UserError, match="exceed fp16's 65504"):
        net.half()(torch.randn(1, 3, 32, 32).half(), 0.5)
    assert net.bfloat16()(torch.randn(1, 3, 32, 32).bfloat16(), 0.5).isfinite().all()


def test_calibration_takes_what_a_data_loader_gives_and_one_width(net):
    data = TensorDataset(torch.randn(6, 3, 32, 32), torch.arange(6))
    net.calibrate(DataLoader(data, batch_size=2), 0.8, data="mine")
    assert net.calibration_of(0.8) == {"on": "other", "data": "mine", "batch_size": 2, "batches": 3}
    before = net.statistics[net.backbone.channels(0.8).key]
    net.calibrate(list(data.tensors[0].split(2)), widths=[0.8])
    after = net.statistics[net.backbone.channels(0.8).key]
    assert all(torch.equal(a, b) for name in before for a, b in zip(before[name], after[name]))


GRAY, BYTES = torch.randn(2, 1, 32, 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
MISTAKES = [
    (lambda net: net(GRAY, 0.5), r"expected normalised images \[B, 3, H, W\], got a tensor of shape \[2, 1, 32, 32\]"),
    (lambda net: net(GRAY[0], 0.5), r"shape \[1, 32, 32\]"),
    (lambda net: net(BYTES, 0.5), "got torch.uint8; scale to"),
    (lambda net: net(GRAY.numpy(), 0.5), "got ndarray"),
    (lambda net: net(torch.randn(1, 3, 32, 32).double(), 0.5), "torch.float64 on cpu, the network is torch.float32"),
    (lambda net: net(torch.randn(1, 3, 32, 32), "0.5"), "expected a width from 0.25 to 1, got '0.5'"),
    (lambda net: net(torch.randn(1, 3, 32, 32), None), "expected a width from 0.25 to 1, got None"),
    (lambda net: net(torch.randn(1, 3, 32, 32), float("nan")), "width nan is outside"),
    (lambda net: net.calibrate([GRAY], 0.5), "got a tensor of shape"),
    (lambda net: net.calibrate([("a", 1)], 0.5), "got str"),
    (lambda net: net.calibrate(torch.randn(2, 3, 32, 32), 0.5), "expected batches of normalised images"),
    (lambda net: net.calibrate(None, 0.5), "expected batches of normalised images"),
    (lambda net: net.calibrate([], 0.5), "needs at least one batch"),
    (lambda net: net.calibrate([torch.randn(1, 3, 32, 32)], 0.5), "a batch of one image .* drop_last=True"),
    (lambda net: net.calibrate([GRAY], "0.5"), "expected one width or several"),
    (lambda net: net.calibrate([GRAY], []), "expected one width or several, got none"),
    (lambda net: net.cost(0.5, image_size="224"), "expected an image size in pixels"),
    (lambda net: net.cost(0.5, image_size=(1, 2, 3)), "expected an image size in pixels"),
    (lambda net: load_universal(7), "takes the path of a file or of a run folder, got int"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_a_mistake_is_one_sentence(net, mistake, message):
    with pytest.raises(UserError, match=message) as caught:
        mistake(net)
    assert "\n" not in str(caught.value)


def test_a_slimmable_backbone_by_itself_refuses_other_channels(net):
    with pytest.raises(UserError, match=r"expected images \[B, 3, H, W\], got a tensor of shape \[2, 1, 32, 32\]"):
        net.backbone.train()(GRAY, 0.5)


def test_costs_of_oblong_images(net):
    assert net.cost(0.5, image_size=(64, 128)).macs == pytest.approx(2 * net.cost(0.5, image_size=64).macs, rel=1e-3)
    assert net.cost(0.5, image_size=64) == net.cost(0.5, image_size=(64, 64))


def test_a_run_folder_stands_for_its_file_and_the_file_follows_the_umask(net, tmp_path):
    before = os.umask(0o027)
    try:
        path = net.save(tmp_path / "run" / "universal.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load_universal(path.parent).hash == load_universal(str(path)).hash == net.hash


def test_the_packages_names_can_be_listed():
    assert dir(pretrain) == sorted(pretrain.__all__)


@pytest.mark.parametrize("width", [1.0, 0.6, 0.25])
def test_on_its_calibration_batch_a_width_is_the_network_that_normalises_by_the_batch(width):
    """In training mode torch's own norms take the batch's moments: those of another width, or cuts of them, differ."""
    net = universal(widths=(1.0, 0.6, 0.25), base_channels=16)
    images = torch.randn(16, 3, 64, 64)
    net.calibrate([images], [1.0, 0.6, 0.25])
    plain = net.extract(width).train()
    torch.testing.assert_close(net(images, width), plain(images), rtol=1e-4, atol=1e-5)
