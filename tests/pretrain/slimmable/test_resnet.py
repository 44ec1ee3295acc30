"""ResNets: torchvision's networks at full width, and the costs that the method states."""

import pytest
import torch
import torchvision

from pretrain.backbones import create_backbone
from pretrain.plain.resnet import BLOCKS, STEMS
from pretrain.universal import backbone_cost
from tests.pretrain.helpers import universal

NAMES = [f"resnet{depth}" for depth in BLOCKS]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_convolutions_start_by_fan_out_or_by_torchs_default(name):
    """Standard deviations sqrt(2 / fan-out) and sqrt(1 / (3 fan-in)), the latter uniform."""
    torch.manual_seed(0)
    for init in ("kaiming", "torch"):
        backbone = create_backbone(name, "cifar", init=init)
        for weight in (module.weight for module in backbone.modules() if isinstance(module, torch.nn.Conv2d)):
            outputs, inputs, height, width = weight.shape
            fan_in, fan_out = inputs * height * width, outputs * height * width
            expected = (2 / fan_out) ** 0.5 if init == "kaiming" else (1 / (3 * fan_in)) ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=0.05)
            assert init == "kaiming" or weight.abs().max() <= fan_in**-0.5
        again = create_backbone(**backbone.arguments)
        assert again.arguments == backbone.arguments and again.init == init
    assert "init" not in create_backbone(name).arguments, "checkpoints say what differs from the default"


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", NAMES)
def test_extraction_has_torchvisions_names_and_shapes(name, stem):
    state = universal(name, stem, widths=(1.0,)).extract(1.0).state_dict()
    reference = getattr(torchvision.models, name)().state_dict()
    assert set(state) == {key for key in reference if not key.startswith("fc.")}
    unequal = {key for key in state if state[key].shape != reference[key].shape}
    assert unequal == ({"conv1.weight"} if stem != "imagenet" else set())


@pytest.mark.parametrize("name", NAMES)
def test_full_width_computes_what_torchvision_computes(name):
    plain = universal(name, widths=(1.0,)).extract(1.0)
    reference = getattr(torchvision.models, name)()
    reference.fc = torch.nn.Identity()
    reference.load_state_dict(plain.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain(images), reference.eval()(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_those_of_torchvisions_own_network(name):
    """Its parameters, its layers counted one by one, and the multiply-accumulates that torchvision publishes."""
    with torch.device("meta"):
        reference = getattr(torchvision.models, name)()
        macs = []
        for module in reference.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(
                    lambda layer, _, y: macs.append(layer.weight.numel() * y[0, 0].numel())  # y: [B, C] or [B, C, H, W]
                )
        reference.eval()(torch.empty(1, 3, 224, 224))
    cost = backbone_cost(create_backbone(name), 1.0, image_size=224, num_classes=1000)
    assert cost.params == sum(p.numel() for p in reference.parameters())
    assert cost.macs == sum(macs)
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert (cost.params, round(cost.macs / 1e9, 2)) == (published["num_params"], round(published["_ops"], 2))


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
