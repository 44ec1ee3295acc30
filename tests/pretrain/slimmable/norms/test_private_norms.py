"""S-Net's batch norms: each of a few widths has affine parameters of its own, in training, extraction and the file."""

import pytest
import torch

from pretrain import load_universal
from pretrain.backbones import create_backbone
from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.config import validate
from pretrain.slimmable.norms.statistics import BatchStatistics
from pretrain.slimmable.ops import SlimBatchNorm
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config, universal

WIDTHS = (1.0, 0.75, 0.5, 0.25)


def network():
    return universal("resnet18", widths=WIDTHS, base_channels=32, private_norms=WIDTHS)


def test_a_width_uses_its_own_parameters_and_no_others():
    norm, x = SlimBatchNorm(32, private=WIDTHS), torch.randn(5, 16, 2, 2)
    before = BatchStatistics()(norm, x)
    with torch.no_grad():
        norm.weight.fill_(7.0)
        norm.private["24"].weight.fill_(7.0)
    assert torch.equal(BatchStatistics()(norm, x), before)
    with torch.no_grad():
        norm.private["16"].weight.fill_(7.0)
    torch.testing.assert_close(BatchStatistics()(norm, x), 7 * before)


def test_other_widths_are_refused():
    backbone = create_backbone("resnet18", base_channels=32, private_norms=WIDTHS)
    with pytest.raises(UserError, match="channels have no batch norm of their own; expected 16, 32, 48"):
        backbone(torch.randn(2, 3, 32, 32), 0.6)


def test_extraction_is_bit_equal_at_each_width_and_survives_the_file(tmp_path):
    net, x = network(), torch.randn(2, 3, 32, 32)
    again = load_universal(net.save(tmp_path / "universal.safetensors"))
    for width in WIDTHS:
        expected = net(x, width)
        assert torch.equal(net.extract(width)(x), expected)
        assert torch.equal(again(x, width), expected) and torch.equal(again.extract(width)(x), expected)
    with pytest.raises(
        UncalibratedWidthError, match="width 0.6 is not calibrated; calibrated widths: 1, 0.75, 0.5, 0.25"
    ):
        net.extract(0.6)


def test_an_s_net_is_pretrained_on_its_widths_with_labels(tmp_path):
    values = tiny_config(
        backbone={"base_channels": 32, "private_norms": WIDTHS}, sampling={"widths": WIDTHS},
        calibration={"widths": None}, training={"iterations": 3},
    ).as_dict()  # fmt: skip
    config = validate({**values, "objective": {"name": "supervised"}})
    net = load_universal(pretrain(config, tmp_path, False, "cpu"))
    assert net.calibrated_widths == list(WIDTHS) and net.metadata["objective"] == {
        "name": "supervised",
        "distill": False,
    }
    trained = [norm for name, norm in net.backbone.named_parameters() if ".private." in name]
    assert trained and all(not torch.equal(p, torch.ones_like(p)) for p in trained)
