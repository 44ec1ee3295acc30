"""fp16 around steps whose gradients overflow, under every optimizer."""

import pytest
import torch

from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.pretrain.test_trainer import loaded
from tests.requirements import requires

OPTIMIZERS = [
    pytest.param({"name": "sgd"}, id="sgd"),
    pytest.param({"name": "sgd", "momentum": 0.0}, id="sgd without momentum"),
    pytest.param({"name": "adamw", "alpha": 0.0, "lr": 1e-3}, id="adamw"),
    pytest.param({"name": "lars", "alpha": 0.0}, id="lars", marks=requires("timm")),
]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def trainer(optimizer: dict) -> Trainer:
    from pretrain.run.distributed import World

    config = tiny_config(training={"precision": "fp16"}, optimizer=optimizer, sampling={"widths": (1.0, 0.5)})
    return Trainer(config, World(0, 1, torch.device("cpu")), 100)


def scaled(found: Trainer, scale: float) -> None:
    found.scaler.load_state_dict(found.scaler.state_dict() | {"scale": scale})


def learnt(found: Trainer) -> dict[str, torch.Tensor]:
    """Weights and the optimizer's tensors, but for the momentum encoder, which moves by itself."""
    state = {
        f"{name}.{key}": value.clone()
        for name, parameter in found.model.named_parameters()
        for key, value in found.optimizer.state.get(parameter, {}).items()
        if value is not None
    }
    weights = {n: p.detach().clone() for n, p in found.model.named_parameters() if p.requires_grad}
    return weights | state


@every_optimizer
def test_steps_that_overflow_change_nothing_and_the_next_one_learns(optimizer):
    found = trainer(optimizer)
    start = {name: value for name, value in learnt(found).items() if not name.endswith((".step", "exp_avg"))}
    scaled(found, 2.0**60)
    for iteration in range(2):
        found.step(loaded(), iteration)
    skipped = learnt(found)
    assert all(torch.equal(skipped[name], value) for name, value in start.items())
    assert found.scaler.get_scale() == 2.0**58  # halved by each
    scaled(found, 1024.0)
    found.step(loaded(), 2)
    after = learnt(found)
    assert all(value.isfinite().all() for value in after.values())
    assert not torch.equal(after["backbone.conv1.weight"], start["backbone.conv1.weight"])


@every_optimizer
def test_a_skipped_first_step_leaves_no_trace_in_the_next(optimizer):
    """Regularisation, momentum and the optimizer's count of steps: as if the skipped iteration had not been.

    The schedules are functions of the iteration, so both take iteration 5, and the momentum encoder starts equal.
    """
    skips, plain = trainer(optimizer), trainer(optimizer)
    scaled(skips, 2.0**60)
    skips.step(loaded(), 4)
    plain.model.load_state_dict(skips.model.state_dict())
    for found in (skips, plain):
        scaled(found, 1024.0)
        found.step(loaded(), 5)
    got, expected = learnt(skips), learnt(plain)
    assert got.keys() == expected.keys()
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_the_momentum_encoder_moves_by_what_the_iteration_starts_with():
    """Its average is taken before the step, of weights that are finite whether the step before was skipped or not."""
    found = trainer({"name": "sgd"})
    momentum = found.model.momentum_encoder.backbone.conv1.weight
    online = found.model.backbone.conv1.weight
    scaled(found, 1024.0)
    found.step(loaded(), 0)
    before, weight = momentum.clone(), online.detach().clone()
    scaled(found, 2.0**60)
    found.step(loaded(), 1)
    torch.testing.assert_close(momentum, before.lerp(weight, 0.01), rtol=0, atol=1e-7)
    assert torch.equal(online.detach(), weight)
