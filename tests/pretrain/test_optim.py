"""Group regularisation against autograd of Eq. 4 and against SGD's weight decay."""

import math

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.objectives.us3l import US3L, Objective
from pretrain.optim import GroupRegularisation, cosine, group_strength, sgd
from tests.pretrain.networks import TINY


def model(dtype=torch.float64) -> US3L:
    torch.manual_seed(0)
    return US3L(create_backbone("resnet18", base_channels=16), Objective(hidden=16, outputs=8)).to(dtype)


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
    GroupRegularisation(net, net.backbone, decay, alpha=0)  # building one changes nothing
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
    regularisation = GroupRegularisation(net, net.backbone, decay, alpha=alpha)
    torch.testing.assert_close(regularisation.loss(), loss)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    regularisation.add_gradients()
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_0_is_sgds_weight_decay_bit_for_bit(dtype):
    ours, reference = model(dtype), model(dtype)
    regularisation = GroupRegularisation(ours, ours.backbone, weight_decay=1e-4, alpha=0.0)
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
    optimizer = sgd([weight], lr=0.5, momentum=0.9)
    expected, velocity = weight.detach().clone(), torch.zeros(5, dtype=torch.float64)
    for gradient in torch.randn(3, 5, dtype=torch.float64):
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        expected -= 0.5 * velocity
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize(("name", "options"), TINY.values(), ids=TINY)
def test_convolutions_and_batch_norms_of_the_backbone_are_grouped_and_nothing_else(name, options):
    """Depthwise convolutions too; not linear layers, layer norms, tokens and heads, nor what is frozen."""
    net = US3L(create_backbone(name, **options), Objective(hidden=16, outputs=8))
    names = {parameter: key for key, parameter in net.named_parameters()}
    terms = GroupRegularisation(net, net.backbone, 1e-4).terms
    grouped = {names[parameter] for parameter, strength in terms if len(strength.unique()) == 8}
    plain = {names[parameter] for parameter, strength in terms if len(strength.unique()) == 1}
    trained = {key for parameter, key in names.items() if parameter.requires_grad}
    expected = {key for key in trained if key.startswith("backbone.") and not name.startswith("vit")}
    assert (grouped, plain) == (expected, trained - expected)


def test_the_momentum_encoder_is_not_regularised():
    net = model()
    regularised = {parameter for parameter, _ in GroupRegularisation(net, net.backbone, 1e-4).terms}
    assert regularised == {p for p in net.parameters() if p.requires_grad}
    assert not regularised & set(net.momentum_encoder.parameters())


def test_cosine_goes_from_1_to_0():
    assert cosine(0, 10) == 1.0
    assert cosine(5, 10) == pytest.approx(0.5)
    assert cosine(10, 10) == pytest.approx(0.0)
    assert cosine(3, 10) == pytest.approx((1 + math.cos(0.3 * math.pi)) / 2)
