"""MobileNetV2: torchvision's network, the layers that keep their size, and the costs that the method states."""

import pytest
import torch
import torchvision

from pretrain.backbones import create_backbone
from pretrain.plain.mobilenetv2 import STEMS
from pretrain.slimmable.heads import projector_of
from pretrain.slimmable.ops import SlimDepthwiseConv2d
from pretrain.universal import backbone_cost
from tests.pretrain.helpers import universal


def torchvisions(plain, width: float) -> torch.nn.Module:
    """torchvision's class with the weights of ``plain``."""
    reference = torchvision.models.mobilenet_v2(width_mult=width)
    reference.classifier = torch.nn.Identity()
    reference.load_state_dict(plain.state_dict(), strict=True)
    return reference.eval()


def test_the_projectors_first_layer_can_start_small():
    """As torchvision's classifier; the layers above it start as without."""
    usual = create_backbone("mobilenetv2", base_channels=8)
    small = create_backbone("mobilenetv2", base_channels=8, init="small_projector")
    heads = []
    for backbone in (usual, small):
        torch.manual_seed(0)
        heads.append(projector_of(backbone, hidden=64, outputs=16))
    first, others = heads[1].linears[0], heads[0].linears[0]
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.05) and not first.bias.any()
    assert others.bias.any() and others.weight.std().item() == pytest.approx((3 * 320) ** -0.5, rel=0.05)
    assert torch.equal(heads[0].linears[1].weight, heads[1].linears[1].weight)
    assert create_backbone(**small.arguments).init == "small_projector"


@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.3])
def test_torchvision_computes_the_same_features(width):
    plain, images = universal("mobilenetv2", widths=(width,)).extract(width), torch.randn(2, 3, 64, 64)
    assert torch.equal(plain(images), torchvisions(plain, width)(images))


def test_the_narrowest_has_the_connections_of_the_full_width():
    """torchvision adds a shortcut where the stem and the first block round to equally many channels."""
    plain = universal("mobilenetv2", widths=(0.25,)).extract(0.25)
    reference = torchvisions(plain, 0.25)
    shortcuts = [i for i in range(1, 18) if plain.features[i].residual]
    assert shortcuts == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    assert [i for i in range(1, 18) if reference.features[i].use_res_connect] == [1, *shortcuts]


@pytest.mark.parametrize("stem", STEMS)
def test_what_keeps_its_size_and_what_is_six_times_the_rounded_inputs(stem):
    plain = create_backbone("mobilenetv2", stem).plain(create_backbone("mobilenetv2").channels(0.4))
    assert plain.features[0][0].weight.shape[1] == 3
    assert (plain.features[-1][0].weight.shape[:2], plain.features[-1][1].num_features) == ((1280, 128), 1280)
    for block in plain.features[2:-1]:
        inputs, hidden = block.conv[0][0].in_channels, block.conv[0][0].out_channels
        depthwise = block.conv[1][0]
        assert hidden == 6 * inputs == depthwise.groups == depthwise.out_channels


@pytest.mark.parametrize(("stem", "strides"), [("imagenet", [4, 8, 16, 32]), ("cifar", [1, 2, 4, 8])])
def test_the_feature_maps_of_detection(stem, strides):
    net = universal("mobilenetv2", stem, widths=(0.5,))
    plain, images = net.extract(0.5), torch.randn(2, 3, 64, 64)
    maps = plain.stage_maps(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 64 // s) for c, s in zip((16, 16, 48, 1280), strides, strict=True)
    ]
    torch.testing.assert_close(maps[-1].mean((2, 3)), net(images, width=0.5))


def test_a_depthwise_convolution_is_one_of_each_channel():
    conv, x = SlimDepthwiseConv2d(16, stride=2).double(), torch.randn(2, 8, 7, 7, dtype=torch.float64)
    expected = [
        torch.nn.functional.conv2d(x[:, i : i + 1], conv.weight[i : i + 1], None, 2, padding=1) for i in range(8)
    ]
    torch.testing.assert_close(conv(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    ("width", "params", "macs"), [(1.0, 2.224, 0.0880), (0.5, 0.688, 0.0280), (0.25, 0.238, 0.0095)]
)
def test_costs_with_the_cifar_stem(width, params, macs):
    cost = backbone_cost(create_backbone("mobilenetv2", "cifar"), width, image_size=32)
    assert round(cost.params / 1e6, 3) == params
    assert round(cost.macs / 1e9, 4) == macs
