"""Whole trainings beside a plain loop: what only shows at a schedule's real length.

US3L itself runs 10,000 iterations; the other recipes 2,000, and as many with US3L_LONG_TESTS=1.

Weights of every group, momentum of the optimizer, the momentum encoder, learning rate and alpha are compared at each
quarter of the training, in float64. The loop knows nothing of the suite but its drawn widths.
"""

import dataclasses
import math
import os

import numpy as np
import pytest
import torch

from pretrain.objectives.step import Batch
from pretrain.optim import OptimizerSettings
from pretrain.run.distributed import World
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.pretrain.toy import ToyMoCoV3Settings, ToyUS3LSettings

LONG = 10_000
SHORT = LONG if os.environ.get("US3L_LONG_TESTS") else 2_000
SIZES = {"hidden": 4, "outputs": 4}
VIT = OptimizerSettings("adamw", lr=1.5e-4, lr_batch=256, weight_decay=0.1, warmup_epochs=40.0, alpha=0.0)
MSE = ToyUS3LSettings(**SIZES, base="mse")


@dataclasses.dataclass(frozen=True)
class Run:
    """iterations: T. epoch_iterations: in an epoch, which the warm-up counts in."""

    objective: ToyUS3LSettings | ToyMoCoV3Settings
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    dynamic: bool = True
    update: str = "accumulate"
    memory: str = "normal"
    iterations: int = SHORT
    epoch_iterations: int = SHORT // 400

    def trainer(self) -> Trainer:
        torch.set_default_dtype(torch.float64)
        try:
            values = {"batch_size": 512, "precision": "fp32", "update": self.update, "memory": self.memory}
            config = tiny_config(training=values, sampling={"dynamic": self.dynamic})
            config = dataclasses.replace(config, objective=self.objective, optimizer=self.optimizer)
            return Trainer(config, World(0, 1, torch.device("cpu")), self.iterations, self.epoch_iterations)
        finally:
            torch.set_default_dtype(torch.float32)


RUNS = {
    "us3l": Run(ToyUS3LSettings(**SIZES), iterations=LONG),
    "us3l in low memory": Run(ToyUS3LSettings(**SIZES), memory="low"),
    "released": Run(MSE, OptimizerSettings(lr=0.05, alpha_ramp=(0.0, 0.5), group_heads=True), update="per_width"),
    "case 8": Run(MSE, OptimizerSettings(lr=0.05, weight_decay=5e-4, alpha=0.0), dynamic=False),
    "us3l of vits": Run(ToyMoCoV3Settings(**SIZES, keys="base"), VIT),
}


class PlainLoop:
    """The run written out: one array for each parameter, the formulas of docs/method.md, no autograd."""

    def __init__(self, run: Run, start: dict[str, np.ndarray]):
        self.run, self.settings = run, run.optimizer
        self.weights = {name: value.copy() for name, value in start.items()}
        self.average = {n: v.copy() for n, v in start.items() if n.startswith(("backbone", "projector"))}
        self.first = {name: np.zeros_like(value) for name, value in start.items()}
        self.second = {name: np.zeros_like(value) for name, value in start.items()}
        self.steps = dict.fromkeys(start, 0)

    def rate(self, t: int) -> float:
        peak = self.settings.lr * 512 / self.settings.lr_batch
        warm = self.settings.warmup_epochs * self.run.epoch_iterations
        if t < warm:
            return peak * t / warm
        return peak / 2 * (1 + math.cos(math.pi * (t - warm) / (self.run.iterations - warm)))

    def alpha(self, t: int) -> float:
        if self.settings.alpha_ramp is None:
            return self.settings.alpha
        start, end = self.settings.alpha_ramp
        return self.settings.alpha * min(max((t / self.run.iterations - start) / (end - start), 0), 1)

    def decay(self, name: str, t: int) -> np.ndarray | float:
        """2 lambda of each output channel: Eq. 5 on the backbone, and on vectors of the heads where asked for."""
        value = self.weights[name]
        grouped = name.startswith("backbone") or (self.settings.group_heads and value.ndim == 1)
        if not grouped:
            return self.settings.weight_decay
        size = max(1, len(value) // 8)
        groups = np.array([min(k // size, 7) for k in range(len(value))])
        return (self.settings.weight_decay * (1 - self.alpha(t) * groups)).reshape(-1, *[1] * (value.ndim - 1))

    def iterate(self, t: int, widths: list[float], factor: float) -> None:
        objective = self.run.objective
        end = objective.momentum_end - (objective.momentum_end - objective.momentum) * (
            (math.cos(math.pi * t / self.run.iterations) + 1) / 2
        )
        for name, value in self.average.items():
            self.average[name] = end * value + (1 - end) * self.weights[name]
        uses = [(width, self.used(position == 0)) for position, width in enumerate(widths)]
        for passes in [[use] for use in uses] if self.run.update == "per_width" else [uses]:
            for name in self.weights:
                gradients = [factor * width for width, heads in passes if name.split(".")[0] in heads]
                if gradients:
                    self.step(name, sum(gradients), t)

    def used(self, base: bool) -> set[str]:
        if isinstance(self.run.objective, ToyMoCoV3Settings):
            return {"backbone", "projector", "predictor" if base else "sub_predictor"}
        return {"backbone", "projector", "predictor" if base else "aux_head"}

    def step(self, name: str, gradient: float, t: int) -> None:
        weight, rate = self.weights[name], self.rate(t)
        if self.settings.name == "sgd":
            self.first[name] = 0.9 * self.first[name] + gradient + self.decay(name, t) * weight
            self.weights[name] = weight - rate * self.first[name]
            return
        self.steps[name] += 1
        self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
        self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
        mean = self.first[name] / (1 - 0.9 ** self.steps[name])
        square = self.second[name] / (1 - 0.999 ** self.steps[name])
        self.weights[name] = weight * (1 - rate * self.settings.weight_decay) - rate * mean / (np.sqrt(square) + 1e-8)


def trained(trainer: Trainer) -> dict[str, np.ndarray]:
    return {n: p.detach().numpy().copy() for n, p in trainer.model.named_parameters() if p.requires_grad}


def compare(trainer: Trainer, loop: PlainLoop, t: int) -> None:
    """After iteration ``t``."""
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(loop.rate(t), rel=1e-12)
    for name, value in trained(trainer).items():
        np.testing.assert_allclose(value, loop.weights[name], rtol=1e-6, atol=1e-10, err_msg=name)
    for name, value in loop.average.items():
        found = trainer.model.momentum_encoder.get_parameter(name).detach().numpy()
        np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-10, err_msg=f"momentum of {name}")
    key = "momentum_buffer" if loop.settings.name == "sgd" else "exp_avg"
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad and parameter in trainer.optimizer.state:
            found = trainer.optimizer.state[parameter][key].numpy()
            np.testing.assert_allclose(found, loop.first[name], rtol=1e-6, atol=1e-10, err_msg=f"state of {name}")


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_whole_training_is_the_plain_loop(run):
    trainer, iterations = run.trainer(), run.iterations
    start = trained(trainer)
    loop, waiting = (
        PlainLoop(run, start),
        next(n for n in ("aux_head", "sub_predictor") if hasattr(trainer.model, n)),
    )
    for t, factor in enumerate(np.random.default_rng(0).normal(0, 1e-3, iterations)):
        widths = trainer.sampler.widths(t)
        trainer.schedule(t)
        batch = Batch((torch.tensor(factor, dtype=torch.float64),) * 2, torch.zeros(1))
        trainer.learn(batch, widths, t / iterations)
        loop.iterate(t, widths, float(factor))
        if (t + 1) % (iterations // 4) == 0:
            compare(trainer, loop, t)
        if run.dynamic and t + 1 == iterations // 4:
            now = trained(trainer)
            assert all(np.array_equal(now[n], start[n]) for n in start if n.startswith(waiting)), "moved in stage 0"


def test_two_networks_of_a_step_may_have_the_same_width():
    """Some draws are w_max or R_min themselves; low memory takes one optimizer step all the same."""
    sampler = RUNS["us3l in low memory"].trainer().sampler
    assert any(len({*(widths := sampler.widths(t))}) < len(widths) for t in range(SHORT))
