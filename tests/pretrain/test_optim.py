"""Group regularisation against autograd of Eq. 4 and against SGD's weight decay."""

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.settings import read
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.optim import GroupRegularisation, OptimizerSettings, create_optimizer, group_strength
from tests.pretrain.networks import TINY
from tests.requirements import requires


def model(dtype=torch.float64) -> US3L:
    torch.manual_seed(0)
    return US3L(create_backbone("resnet18", base_channels=16), US3LSettings(hidden=16, outputs=8)).to(dtype)


def set_gradients(net: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)


@pytest.mark.parametrize("channels", [64, 20, 8, 7, 1280])
def test_strength_by_the_definition_of_eq_5(channels):
    got = group_strength(channels, weight_decay=2e-4, groups=8, alpha=0.05)
    size = max(1, channels // 8)
    for k in range(channels):
        assert got[k].item() == pytest.approx(2e-4 * (1 - 0.05 * min(k // size, 7)), rel=1e-12)


def test_gradient_equals_autograd_of_eq_4():
    """Eq. 4 written out: lambda_k times the squared norm of each output channel, plain lambda on heads."""
    net, decay, alpha = model(), 1e-2, 0.05
    GroupRegularisation(net, net.backbone, OptimizerSettings(weight_decay=decay, alpha=0))  # changes nothing
    loss = 0.0
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        grouped = name.startswith("backbone.")
        for k, row in enumerate(parameter):
            group = min(k // (len(parameter) // 8), 7) if grouped else 0
            loss = loss + decay / 2 * (1 - alpha * group) * row.square().sum()
    trained = [p for p in net.parameters() if p.requires_grad]
    expected = torch.autograd.grad(loss, trained)
    regularisation = GroupRegularisation(net, net.backbone, OptimizerSettings(weight_decay=decay, alpha=alpha))
    torch.testing.assert_close(regularisation.loss(), loss)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    regularisation.add_gradients()
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_0_is_sgds_weight_decay_bit_for_bit(dtype):
    ours, reference = model(dtype), model(dtype)
    regularisation = GroupRegularisation(ours, ours.backbone, OptimizerSettings(weight_decay=1e-4, alpha=0.0))
    trained = [p for p in reference.parameters() if p.requires_grad]
    regularised = [p for p in ours.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(regularised, lr=0.5, momentum=0.9)
    plain = torch.optim.SGD(trained, lr=0.5, momentum=0.9, weight_decay=1e-4)
    for _ in range(3):
        set_gradients(ours)
        set_gradients(reference)
        regularisation.add_gradients()
        optimizer.step()
        plain.step()
    assert all(torch.equal(a, b) for a, b in zip(regularised, trained, strict=True))


def test_the_optimizer_is_sgd_with_momentum():
    """The fused kernel against the definition: v <- momentum v + g, w <- w - lr v."""
    weight = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = create_optimizer(OptimizerSettings(), torch.nn.ParameterDict({"w": weight}), lr=0.5)
    expected, velocity = weight.detach().clone(), torch.zeros(5, dtype=torch.float64)
    for gradient in torch.randn(3, 5, dtype=torch.float64):
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        expected -= 0.5 * velocity
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize(("name", "options"), TINY.values(), ids=TINY)
def test_convolutions_and_batch_norms_of_the_backbone_are_grouped_and_nothing_else(name, options):
    """Depthwise convolutions too; not linear layers, layer and response norms, tokens and heads, nor what is frozen."""
    net = US3L(create_backbone(name, **options), US3LSettings(hidden=16, outputs=8))
    names = {parameter: key for key, parameter in net.named_parameters()}
    terms = GroupRegularisation(net, net.backbone, OptimizerSettings()).terms
    grouped = {names[parameter] for parameter, strength in terms if len(strength.unique()) == 8}
    plain = {names[parameter] for parameter, strength in terms if len(strength.unique()) == 1}
    trained = {key for parameter, key in names.items() if parameter.requires_grad}
    others = (".norm.", ".grn.", ".stem.1.", ".downsample.0.") if name.startswith("convnext") else ()
    expected = {key for key in trained if key.startswith("backbone.") and not name.startswith("vit")}
    expected = {key for key in expected if not any(part in key for part in others)}
    assert (grouped, plain) == (expected, trained - expected)


def test_the_momentum_encoder_is_not_regularised():
    net = model()
    regularised = {parameter for parameter, _ in GroupRegularisation(net, net.backbone, OptimizerSettings()).terms}
    assert regularised == {p for p in net.parameters() if p.requires_grad}
    assert not regularised & set(net.momentum_encoder.parameters())


def test_a_ramp_scales_alpha_and_returns_to_where_it_was():
    net = model()
    full, ramped = (GroupRegularisation(net, net.backbone, OptimizerSettings(weight_decay=1e-2)) for _ in range(2))
    half = GroupRegularisation(net, net.backbone, OptimizerSettings(weight_decay=1e-2, alpha=0.025))
    ramped.set_alpha(0.5)
    torch.testing.assert_close(ramped.loss(), half.loss())
    ramped.set_alpha(1.0)
    torch.testing.assert_close(ramped.loss(), full.loss())


def test_norms_and_biases_of_the_heads_are_grouped_on_request():
    net = model()
    strengths = {
        grouped: dict(GroupRegularisation(net, net.backbone, OptimizerSettings(group_heads=grouped)).terms)
        for grouped in (False, True)
    }
    vector, matrix = net.projector.norms[0].weight, net.projector.linears[0].weight
    assert strengths[False][vector].unique().numel() == 1
    assert strengths[True][vector].unique().numel() == 8
    assert strengths[True][matrix].unique().numel() == 1


def test_adamw_decays_by_itself_on_trainable_parameters_only():
    net = model()
    optimizer = create_optimizer(OptimizerSettings(name="adamw", weight_decay=0.1, alpha=0.0), net, lr=1e-3)
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW) and group["weight_decay"] == 0.1 and group["lr"] == 1e-3
    assert {*group["params"]} == {p for p in net.parameters() if p.requires_grad}


@requires("timm")
def test_lars_leaves_vectors_without_decay_and_adaptation():
    """You et al., Algorithm 1, written out for a matrix: lr scaled by trust * |w| / (|g| + decay |w|)."""
    w, v = torch.nn.Parameter(torch.randn(4, 3).double()), torch.nn.Parameter(torch.randn(4).double())
    settings = OptimizerSettings(name="lars", weight_decay=1e-2, alpha=0.0, momentum=0.9)
    optimizer = create_optimizer(settings, torch.nn.ParameterDict({"w": w, "v": v}), lr=0.8)
    matrix, vector = w.detach().clone(), v.detach().clone()
    w.grad, v.grad = torch.randn(4, 3).double(), torch.randn(4).double()
    optimizer.step()
    trust = 0.001 * matrix.norm() / (w.grad.norm() + 1e-2 * matrix.norm())
    torch.testing.assert_close(w.detach(), matrix - 0.8 * trust * (w.grad + 1e-2 * matrix), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(v.detach(), vector - 0.8 * v.grad)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr is 0"),
        ({"name": "adamw"}, "optimizer.alpha is 0.05 with adamw"),
        ({"alpha": 0.5}, "optimizer.alpha is 0.5; expected 0 to 0.143"),
        ({"alpha_ramp": (0.5, 0.4)}, "alpha_ramp is"),
        ({"alpha_ramp": (1.0, 1.0)}, "alpha_ramp is"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        read(OptimizerSettings, settings).check()
