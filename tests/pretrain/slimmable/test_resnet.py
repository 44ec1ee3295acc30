"""Every backbone and stem: any width runs, is extracted bit for bit, and costs what the method says."""

import numpy as np
import pytest
import torch
import torchvision

from pretrain.backbones import STEMS, create_backbone, list_backbones
from pretrain.errors import UncalibratedWidthError, UserError
from pretrain.slimmable.norms import BatchStatistics
from pretrain.universal import backbone_cost
from tests.pretrain.helpers import universal

RANDOM_WIDTHS = [float(w) for w in np.random.default_rng(0).uniform(0.25, 1, 20)]
every_network = pytest.mark.parametrize(("name", "stem"), [(n, s) for n in list_backbones() for s in STEMS])


@every_network
def test_extracted_equals_sliced_bit_for_bit(name, stem):
    net = universal(name, stem, widths=tuple(RANDOM_WIDTHS))
    images = torch.randn(2, 3, 32, 32)
    for width in RANDOM_WIDTHS:
        assert torch.equal(net.extract(width)(images), net(images, width=width)), width


@every_network
def test_extraction_uses_plain_modules_and_torchvisions_names(name, stem):
    plain = universal(name, stem, widths=(1.0,)).extract(1.0)
    reference = getattr(torchvision.models, name)().state_dict()
    state = plain.state_dict()
    assert set(state) == {key for key in reference if not key.startswith("fc.")}
    unequal = {key for key in state if state[key].shape != reference[key].shape}
    assert unequal == ({"conv1.weight"} if stem != "imagenet" else set())
    assert {type(m).__module__.split(".")[0] for m in plain.modules() if not list(m.children())} == {"torch"}


def test_full_width_computes_what_torchvision_computes():
    plain = universal("resnet50", widths=(1.0,)).extract(1.0)
    reference = torchvision.models.resnet50()
    reference.fc = torch.nn.Identity()
    reference.load_state_dict(plain.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain(images), reference.eval()(images), rtol=0, atol=0)


@every_network
def test_a_narrow_network_uses_the_first_channels_only(name, stem):
    """Changing a weight beyond the prefix changes nothing; gradients stay inside the prefix."""
    backbone = create_backbone(name, stem, base_channels=16)
    images = torch.randn(4, 3, 32, 32)
    before = backbone(images, 0.5, BatchStatistics())
    before.sum().backward()
    channels = backbone.channels(0.5)
    used = backbone.layer1[0].conv1
    assert used.weight.grad[: channels.inner[0], : channels.stem].abs().sum() > 0
    assert used.weight.grad[channels.inner[0] :].abs().sum() == 0
    with torch.no_grad():
        used.weight[channels.inner[0] :] += 1
        used.weight[:, channels.stem :] += 1
    assert torch.equal(before, backbone(images, 0.5, BatchStatistics()))


@pytest.mark.parametrize(
    ("width", "params", "macs"),
    [(1.0, 25.557, 4.089), (0.75, 14.772, 2.323), (0.5, 6.918, 1.052), (0.25, 1.994, 0.278)],
)
def test_costs_of_resnet50_with_a_1000_way_classifier(width, params, macs):
    cost = backbone_cost(create_backbone("resnet50"), width, image_size=224, num_classes=1000)
    assert round(cost.params / 1e6, 3) == params
    assert round(cost.macs / 1e9, 3) == macs


@pytest.mark.parametrize(
    ("width", "params", "macs"), [(1.0, 11.169, 0.5554), (0.5, 2.795, 0.1393), (0.25, 0.700, 0.0350)]
)
def test_costs_of_resnet18_with_the_cifar_stem(width, params, macs):
    cost = backbone_cost(create_backbone("resnet18", "cifar"), width, image_size=32)
    assert round(cost.params / 1e6, 3) == params
    assert round(cost.macs / 1e9, 4) == macs


def test_macs_equal_a_count_by_hand():
    """Every convolution: outputs x inputs x kernel area x output positions, read off by hooks."""
    backbone = create_backbone("resnet18", base_channels=16)
    plain = backbone.plain(backbone.channels(0.7))
    macs = 0

    def count(conv, _, output):
        nonlocal macs
        macs += conv.weight.numel() * output.shape[2] * output.shape[3]

    for module in plain.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    plain(torch.randn(1, 3, 64, 64))
    assert backbone_cost(backbone, 0.7, image_size=64).macs == macs


def test_a_channel_tuple_stands_for_a_width():
    backbone = create_backbone("resnet18", base_channels=16)
    images = torch.randn(2, 3, 32, 32)
    by_width = backbone(images, 0.6, BatchStatistics())
    assert torch.equal(by_width, backbone(images, backbone.channels(0.6), BatchStatistics()))


def test_a_backbone_alone_normalises_by_its_batch_and_refuses_eval_mode():
    backbone = create_backbone("resnet18", base_channels=16)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(backbone(images, 0.6), backbone(images, 0.6, BatchStatistics()))
    with pytest.raises(UncalibratedWidthError, match=r"no statistics for width 0.6"):
        backbone.eval()(images, 0.6)
    with pytest.raises(UserError, match=r"width 1.2 is outside the range 0.25 to 1"):
        backbone.train()(images, 1.2)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'resnet50'"):
        create_backbone("resnet5O")
    with pytest.raises(UserError, match="unknown stem 'cifa'; did you mean 'cifar'"):
        create_backbone("resnet18", "cifa")
