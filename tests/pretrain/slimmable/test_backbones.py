"""Every backbone, stem and slicing: any width runs, keeps to its channels and is extracted bit for bit."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from pretrain import UncalibratedWidthError, UserError, load_universal
from pretrain.backbones import create_backbone
from pretrain.slimmable.calibrate import batch_norms
from pretrain.slimmable.norms.statistics import BatchStatistics
from pretrain.slimmable.ops import SlimConv2d, SlimDepthwiseConv2d
from pretrain.train import pretrain
from pretrain.universal import backbone_cost
from tests.pretrain.helpers import tiny_config, universal
from tests.pretrain.networks import every_network

RANDOM_WIDTHS = [1.0, 0.25, *(float(w) for w in np.random.default_rng(0).uniform(0.25, 1, 8))]
STANDARD = {"resnet18": 64, "resnet34": 64, "resnet50": 64, "resnet101": 64, "mobilenetv2": 32}


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def cuts(backbone, width) -> dict[str, torch.Tensor]:
    """For every parameter, where ``width`` uses it: found by cutting a tensor of positions."""
    channels, used = backbone.channels(width), {}
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in backbone.plain(channels).named_parameters()}
    for name, parameter in backbone.named_parameters():
        positions = torch.arange(parameter.numel()).view(parameter.shape)
        mask = torch.zeros(parameter.numel(), dtype=torch.bool)
        mask[backbone.cut(name, positions, channels, shapes[name]).flatten()] = True
        used[name] = mask.view(parameter.shape)
    return used


@every_network
def test_extracted_equals_sliced_bit_for_bit(name, options):
    """With as many channels as the standard networks have."""
    if name in STANDARD:
        options = {**options, "base_channels": STANDARD[name]}
    net = universal(name, widths=tuple(RANDOM_WIDTHS), **options)
    for width in RANDOM_WIDTHS:
        features = net(images(), width=width)
        assert torch.equal(net.extract(width)(images()), features), width
        assert features.shape == (2, net.backbone.num_features(width))


@every_network
def test_extraction_uses_plain_modules_of_torch(name, options):
    plain = universal(name, widths=(0.6,), **options).extract(0.6)
    places = {type(m).__module__ for m in plain.modules() if not list(m.children())}
    assert all(place.startswith(("torch.", "pretrain.plain.")) for place in places), (
        "torch's layers, or such as it lacks"
    )
    assert plain.name == name and not plain.training


@every_network
def test_a_narrow_network_reads_its_own_channels_only(name, options):
    """What lies outside is made NaN: the features stay, and so do the gradients, which are zero outside."""
    backbone = create_backbone(name, **options).double()
    x = images(4).double()
    before = backbone(x, 0.5, BatchStatistics())
    used = cuts(backbone, 0.5)
    with torch.no_grad():
        for key, parameter in backbone.named_parameters():
            parameter[~used[key]] = float("nan")
    after = backbone(x, 0.5, BatchStatistics())
    assert torch.equal(before, after)
    weights = torch.randn(after.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (after * weights).sum().backward()
    partly = 0
    for key, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad[~used[key]].eq(0).all(), key
            assert parameter.grad[used[key]].ne(0).any(), key
            partly += int((~used[key]).any())
    assert partly > 4


@every_network
def test_a_width_is_the_same_function_whether_a_number_or_channels_say_it(name, options):
    backbone = create_backbone(name, **options)
    channels = backbone.channels(0.6)
    assert torch.equal(backbone(images(), 0.6), backbone(images(), channels))
    assert hash(channels) == hash(backbone.channels(0.6)) and dataclasses.is_dataclass(channels)
    assert {"/", " "}.isdisjoint(channels.key)
    with pytest.raises(UserError, match=r"width 1.2 is outside the range 0.25 to 1"):
        backbone(images(), 1.2)


@every_network
def test_every_distinct_sub_network_has_a_key_of_its_own(name, options):
    backbone = create_backbone(name, **options)
    space = backbone.width_space()
    assert len({backbone.channels(width).key for width in space.names}) == len(space)
    assert space.names[0] == 0.25 and space.names[-1] == 1.0


@every_network
def test_only_batch_norms_make_eval_mode_without_statistics_an_error(name, options):
    backbone = create_backbone(name, **options).eval()
    if batch_norms(backbone):
        with pytest.raises(UncalibratedWidthError, match=r"no statistics for width 0.6"):
            backbone(images(), 0.6)
    else:
        assert backbone(images(), 0.6).isfinite().all()


@every_network
def test_the_universal_checkpoint_holds_the_backbone(name, options, tmp_path):
    net = universal(name, widths=(1.0, 0.4), **options)
    loaded = load_universal(net.save(tmp_path / "u.safetensors"))
    assert loaded.backbone.arguments == net.backbone.arguments and loaded.hash == net.hash
    for width in (1.0, 0.4):
        assert torch.equal(loaded(images(), width=width), net(images(), width=width))
    frozen = {key for key, parameter in loaded.backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {key for key, parameter in net.backbone.named_parameters() if not parameter.requires_grad}


@every_network
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_an_extraction_can_be_scripted(name, options):
    plain = universal(name, widths=(0.5,), **options).extract(0.5)
    assert torch.equal(torch.jit.script(plain)(images()), plain(images()))


@every_network
def test_arguments_build_the_same_backbone_again(name, options):
    backbone = create_backbone(name, **options)
    again = create_backbone(**backbone.arguments)
    assert backbone.arguments == again.arguments == {**again.arguments, "name": name, **options}
    assert {k: v.shape for k, v in backbone.state_dict().items()} == {k: v.shape for k, v in again.state_dict().items()}


@every_network
def test_a_classifier_costs_what_a_linear_layer_costs(name, options):
    backbone = create_backbone(name, **options)
    alone, classifier = (backbone_cost(backbone, 0.5, image_size=32, num_classes=n) for n in (0, 10))
    features = backbone.num_features(0.5)
    assert classifier.params - alone.params == 10 * features + 10
    assert classifier.macs - alone.macs == 10 * features
    assert backbone.plain(backbone.channels(0.5), 10).eval()(images()).shape == (2, 10)


@every_network
def test_macs_of_convolutions_and_linear_layers_equal_a_count_by_hand(name, options):
    """Read off by hooks; attention products, which no module holds, are 2 T^2 C in each block."""
    backbone = create_backbone(name, **options)
    plain = backbone.plain(backbone.channels(0.7))
    macs = 0

    def count(module, _, output):
        nonlocal macs
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else output[0].numel() // output.shape[-1]
        macs += module.weight.numel() * positions

    for module in plain.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    plain.eval()(images(1))
    if name.startswith("vit"):
        macs += options["depth"] * 2 * 17**2 * plain.channels.embed
    assert backbone_cost(backbone, 0.7, image_size=32).macs == macs


@every_network
def test_a_pretraining_of_two_iterations_ends_in_a_universal_checkpoint(name, options, tmp_path):
    options = {"base_channels": None, **options, **({"base_channels": 8} if "stem" in options else {})}
    config = tiny_config(backbone={"name": name, **options}, training={"iterations": 2})
    net = load_universal(pretrain(config, tmp_path, False, "cpu"))
    assert net.metadata["backbone"] == net.backbone.arguments == config.as_dict()["backbone"]
    assert {1.0, 0.5} <= {float(f"{w:g}") for w in net.calibrated_widths} or not net.needs_calibration
    assert net(images(), width=0.5).isfinite().all()
    assert torch.equal(net.extract(0.5)(images()), net(images(), width=0.5))


def test_unknown_names_options_and_values_are_refused_with_the_nearest():
    for arguments, message in (
        ({"name": "resnet5O"}, "unknown backbone 'resnet5O'; did you mean 'resnet50'"),
        ({"name": "resnet18", "stem": "cifa"}, "unknown stem 'cifa'; did you mean 'cifar'"),
        (
            {"name": "resnet18", "patch_size": 4},
            "resnet18 has no option 'patch_size'; valid: base_channels, init, input_channels, p",
        ),
        ({"name": "vit_tiny", "stem": "cifar"}, "vit_tiny has no option 'stem'"),
        ({"name": "vit_tiny", "patchsize": 4}, "vit_tiny has no option 'patchsize'; did you mean 'patch_size'"),
        ({"name": "vit_tiny", "slim": "input"}, "unknown slim 'input'; did you mean 'inputs'"),
        ({"name": "vit_tiny", "depth": 0}, "depth is 0; expected a number from 1"),
        ({"name": "vit_tiny", "image_size": 30, "patch_size": 4}, "patches of 4 px do not fill an image of 30 px"),
    ):
        with pytest.raises(UserError, match=message) as error:
            create_backbone(**arguments)
        assert "\n" not in str(error.value)


@every_network
def test_bf16_has_the_gradients_of_fp32_where_maps_are_a_pixel(name, options):
    """At 16 px the last stages of most networks see one pixel; whatever memory held before must not come through."""
    options = {**options, "image_size": 16} if "image_size" in options else options
    torch.manual_seed(0)
    backbone, x = create_backbone(name, **options), torch.randn(8, 3, 16, 16)

    def gradient(enabled: bool) -> torch.Tensor:
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            features = backbone(x, 0.5)
        features.float().square().mean().backward()
        return torch.cat([p.grad.flatten() for p in backbone.parameters() if p.grad is not None])

    exact, found = gradient(False), gradient(True)
    assert found.isfinite().all()
    assert 0.5 * exact.norm() < found.norm() < 2 * exact.norm()


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_map_of_one_pixel_is_convolved_in_fp32_under_autocast(depthwise):
    torch.manual_seed(0)
    conv = SlimDepthwiseConv2d(8, stride=2) if depthwise else SlimConv2d(8, 16, 3, stride=2)
    arguments = () if depthwise else (16,)
    x = torch.randn(4, 8, 1, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x, *arguments)
    y.float().sum().backward()
    found, conv.weight.grad = conv.weight.grad, None
    conv(x.float(), *arguments).sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(found, conv.weight.grad)
