"""The paper's linear evaluation: its schedule, and one head a width that no other width disturbs."""

import math

import pytest
import torch
from torch import nn

from pretrain.common.errors import UserError
from transfer.recognition.sgd import LinearSettings, check_optimizer, linear_settings, train_heads_sgd


class Frozen(nn.Module):
    """Stands in for a plain backbone: a fixed random projection to ``size`` features."""

    def __init__(self, size: int):
        super().__init__()
        projection = torch.randn(12, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
        self.projection = nn.Parameter(projection)

    def forward(self, x):
        return x.flatten(1) @ self.projection


X = torch.randn(20, 3, 2, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
Y = (X.mean((1, 2, 3)) > 0).long()


def two_batches(epoch):
    yield from ((X[:10], Y[:10]), (X[10:], Y[10:]))


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_schedule_is_a_tenth_after_60_and_80_percent():
    module, settings = Frozen(4), LinearSettings(learning_rate=0.5, epochs=10)
    [head] = train_heads_sgd({1.0: module}, {1.0: 4}, two_batches, 2, 2, settings, seed=0).values()
    start = train_heads_sgd({1.0: module}, {1.0: 4}, two_batches, 2, 2, LinearSettings(epochs=0), seed=0)[1.0]
    values = [start.weight.detach().clone(), start.bias.detach().clone()]
    velocity = [torch.zeros_like(v) for v in values]
    for epoch in range(10):
        rate = 0.5 if epoch < 6 else 0.05 if epoch < 8 else 0.005
        for x, y in two_batches(epoch):
            features = module(x).detach()
            residual = (features @ values[0].T + values[1]).softmax(1) - nn.functional.one_hot(y, 2)
            for v, p, g in zip(velocity, values, (residual.T @ features / len(x), residual.mean(0))):
                v.mul_(0.9).add_(g)
                p.sub_(rate * v)
    torch.testing.assert_close(head.weight.detach(), values[0], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(head.bias.detach(), values[1], rtol=1e-9, atol=1e-11)


def test_lars_is_that_of_its_paper():
    """w -= velocity, velocity = 0.9 velocity + rate * trust * gradient, trust = 0.001 |w| / |g|, 1 for zeros."""
    pytest.importorskip("timm")
    module, linear = Frozen(4), LinearSettings(0.5, batch=10, epochs=3, schedule="cosine", optimizer="lars")
    [head] = train_heads_sgd({1.0: module}, {1.0: 4}, two_batches, 2, 2, linear, seed=0).values()
    start = train_heads_sgd({1.0: module}, {1.0: 4}, two_batches, 2, 2, LinearSettings(epochs=0), seed=0)[1.0]
    values = [start.weight.detach().clone(), start.bias.detach().clone()]
    velocity = [torch.zeros_like(v) for v in values]
    batches = [batch for epoch in range(3) for batch in two_batches(epoch)]
    for i, (x, y) in enumerate(batches):
        rate = 0.5 * (1 + math.cos(math.pi * i / 6)) / 2
        features = module(x).detach()
        residual = (features @ values[0].T + values[1]).softmax(1) - nn.functional.one_hot(y, 2)
        for v, p, g in zip(velocity, values, (residual.T @ features / len(x), residual.mean(0))):
            trust = 0.001 * p.norm() / (g.norm() + 1e-8) if p.norm() > 0 else 1.0
            v.mul_(0.9).add_(trust * g)
            p.sub_(rate * v)
    torch.testing.assert_close(head.weight.detach(), values[0], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(head.bias.detach(), values[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("target", "backbone", "expected"),
    [
        ("cifar10", "resnet18", LinearSettings(30, 512, 100, "steps", "sgd")),
        ("cifar100", "mobilenetv2", LinearSettings(30, 512, 100, "steps", "sgd")),
        ("flowers", "resnet50", LinearSettings(30, 512, 100, "steps", "sgd")),
        ("imagenet", "resnet50", LinearSettings(0.8, 1024, 60, "cosine", "lars")),
        ("cifar10", "vit_tiny", LinearSettings(0.1, 256, 90, "cosine", "sgd")),
    ],
)
def test_recipes_are_those_of_the_method_page(target, backbone, expected):
    assert linear_settings(target, backbone) == expected


def test_rates_that_are_stated_per_batch_scale_with_it():
    assert linear_settings("imagenet", "resnet50", batch=128).learning_rate == pytest.approx(0.1)
    assert linear_settings("cifar10", "vit_tiny", batch=512).learning_rate == pytest.approx(0.2)
    assert linear_settings("cifar10", "resnet18", batch=256).learning_rate == 30
    assert linear_settings("imagenet", "resnet50", 256, 5, 0.3) == LinearSettings(0.3, 256, 5, "cosine", "lars")


def test_lars_without_timm_is_one_line(monkeypatch):
    monkeypatch.setattr("transfer.recognition.sgd.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs timm; expected: pip install timm"):
        check_optimizer(linear_settings("imagenet", "resnet50"))
    check_optimizer(linear_settings("cifar10", "resnet50"))


def test_widths_share_batches_but_not_heads():
    modules = {1.0: Frozen(8), 0.5: Frozen(4)}
    settings = LinearSettings(learning_rate=0.1, epochs=3)
    together = train_heads_sgd(modules, {1.0: 8, 0.5: 4}, two_batches, 2, 2, settings, seed=0)
    for width, module in modules.items():
        alone = train_heads_sgd({width: module}, {width: int(8 * width)}, two_batches, 2, 2, settings, seed=0)[width]
        torch.testing.assert_close(together[width].weight, alone.weight)
        assert module.projection.grad is None, "backbones are frozen"


def test_every_step_is_reported():
    losses = []
    train_heads_sgd({1.0: Frozen(4)}, {1.0: 4}, two_batches, 2, 2, LinearSettings(epochs=3), seed=0, tick=losses.append)
    assert len(losses) == 6 and all(loss > 0 for loss in losses)


def test_a_rate_that_does_not_fit_is_a_warning():
    wild = LinearSettings(epochs=3, learning_rate=1e6)
    with pytest.warns(UserWarning, match=r"a loss of .*, a guess has 0.6931: learning_rate=1e\+06 does not fit"):
        train_heads_sgd({1.0: Frozen(4)}, {1.0: 4}, two_batches, 2, 2, wild, seed=0)
