"""Networks for their shapes alone: the same shapes and counts, no values, and nothing changed on other devices."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pretrain.backbones import create_backbone
from pretrain.common.shapes import shapes_only

NAMES = ["resnet18", "resnet50", "mobilenetv2", "convnextv2_atto", "vit_tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_shapes_formats_and_counts_of_one_with_values(name):
    torch.manual_seed(0)
    real = create_backbone(name)
    plain = real.plain(real.channels(0.5)).eval()
    with shapes_only():
        backbone = create_backbone(name)
        shadow = backbone.plain(backbone.channels(0.5)).eval()
    expected = {key: (value.shape, value.dtype) for key, value in plain.state_dict().items()}
    assert {key: (value.shape, value.dtype) for key, value in shadow.state_dict().items()} == expected
    assert all(value.is_meta for value in shadow.state_dict().values())
    size = backbone.arguments.get("image_size", 64)
    with FlopCounterMode(display=False) as counted, torch.no_grad(), shapes_only():
        found = shadow(torch.empty(2, 3, size, size))
    with FlopCounterMode(display=False) as by_torch_alone, torch.no_grad():
        expected = plain.to("meta")(torch.empty(2, 3, size, size, device="meta"))
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())
    assert counted.get_total_flops() == by_torch_alone.get_total_flops() > 0


def test_on_other_devices_everything_has_its_values_and_the_generator_is_left_alone_by_shapes():
    x = torch.ones(4, 3, 2, 2, device="cpu")
    norm = nn.BatchNorm2d(3, device="cpu").eval()
    torch.manual_seed(0)
    expected = torch.randn(5), norm(x)
    torch.manual_seed(0)
    with shapes_only():
        nn.Conv2d(3, 8, 3)
        assert torch.equal(torch.randn(5, device="cpu"), expected[0]) and torch.equal(norm(x), expected[1])


def test_a_norm_that_is_trained_gives_its_statistics_shapes():
    with shapes_only():
        x, _, _ = torch.native_batch_norm(torch.empty(2, 3, 4, 4), *torch.empty(4, 3), True, 0.1, 1e-5)
        _, mean, _ = torch.native_batch_norm(torch.empty(2, 3, 4, 4), *torch.empty(4, 3), True, 0.1, 1e-5)
    assert x.shape == (2, 3, 4, 4) and mean.shape == (3,)
