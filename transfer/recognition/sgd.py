"""The linear evaluation of the paper: one linear layer trained on augmented images over frozen features.

docs/method.md, section 5. One decoded batch serves every width; each width has a head of its own.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.common.errors import UserError


@dataclass(frozen=True)
class LinearSettings:
    """How the heads are trained, without weight decay.

    learning_rate: at ``batch`` images. schedule: ``steps``, x 0.1 after 60 % and 80 % of the epochs, or ``cosine`` to 0
    by iteration. optimizer: ``lars`` adapts the rate of each tensor by ||w|| / ||gradient|| (You et al., "Large batch
    training of convolutional networks", 2017) with the usual coefficient of 0.001, which the paper does not state.
    """

    learning_rate: float = 30.0
    batch: int = 512
    epochs: int = 100
    schedule: Literal["steps", "cosine"] = "steps"
    optimizer: Literal["sgd", "lars"] = "sgd"
    momentum: float = 0.9

    def factor(self, iteration: int, per_epoch: int) -> float:
        """Share of the learning rate at ``iteration``."""
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * iteration / (self.epochs * per_epoch)))
        return 0.1 ** sum(iteration // per_epoch >= round(share * self.epochs) for share in (0.6, 0.8))


def linear_settings(
    target: str, backbone: str, batch: int | None = None, epochs: int | None = None, learning_rate: float | None = None
) -> LinearSettings:
    """The paper's linear evaluation on a data set and of a backbone, with some of it changed.

    The rates of ImageNet and of vision transformers are stated per batch and scale with it; 30 is kept as it is.
    """
    if backbone.startswith("vit"):
        rate, usual, passes, rest = 0.1 / 256, 256, 90, {"schedule": "cosine"}
    elif target == "imagenet":
        rate, usual, passes, rest = 0.8 / 1024, 1024, 60, {"schedule": "cosine", "optimizer": "lars"}
    else:
        rate, usual, passes, rest = None, 512, 100, {}
    batch = batch or usual
    scaled = 30.0 if rate is None else rate * batch
    return LinearSettings(scaled if learning_rate is None else learning_rate, batch, epochs or passes, **rest)


def check_optimizer(linear: LinearSettings) -> None:
    """UserError if the linear heads train by LARS and timm, which has it, is not installed."""
    if linear.optimizer == "lars" and find_spec("timm") is None:
        raise UserError(
            "the paper's linear evaluation on ImageNet trains by LARS, which needs timm; expected: pip install timm"
        )


def make_optimizer(linear: LinearSettings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with momentum, or timm's LARS."""
    if linear.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=linear.learning_rate, momentum=linear.momentum)
    from timm.optim import Lars

    # without always_adapt timm leaves tensors alone that have no weight decay, and none has any here
    return Lars(parameters, lr=linear.learning_rate, momentum=linear.momentum, always_adapt=True)


def train_heads_sgd(
    modules: dict[float, nn.Module],
    sizes: dict[float, int],
    epoch_batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    per_epoch: int,
    classes: int,
    linear: LinearSettings,
    seed: int,
    tick: Callable[[float], None] = lambda loss: None,
) -> dict[float, nn.Linear]:
    """A linear head for each width.

    modules: frozen plain backbones by width, in eval mode; sizes: of their features. epoch_batches(epoch) yields
    ``per_epoch`` batches of normalised augmented images [B, 3, H, W] and labels int64 [B] on their device.
    tick: called after each step with the mean loss of the widths. A warning says where the last loss is above that of
    a guess, ln(classes): the learning rate does not fit the features.
    """
    heads = {w: new_head(sizes[w], classes, seed).to(next(module.parameters()).device) for w, module in modules.items()}
    optimizer = make_optimizer(linear, [p for head in heads.values() for p in head.parameters()])
    iteration, mean = 0, 0.0
    for epoch in range(linear.epochs):
        for x, labels in epoch_batches(epoch):
            for group in optimizer.param_groups:
                group["lr"] = linear.learning_rate * linear.factor(iteration, per_epoch)
            loss = torch.stack([_loss(modules[w], head, x, labels) for w, head in heads.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = float(loss.detach()) / len(heads)
            tick(mean)
            iteration += 1
    if not mean <= math.log(classes):
        warnings.warn(
            f"the linear heads ended at a loss of {mean:.4g}, a guess has {math.log(classes):.4g}: "
            f"learning_rate={linear.learning_rate:g} does not fit these features",
            stacklevel=2,
        )
    return heads


def new_head(size: int, classes: int, seed: int) -> nn.Linear:
    """Weights of deviation 0.01, as is usual on frozen features; the same for every run of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(size, classes)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
    return head


def _loss(module: nn.Module, head: nn.Linear, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        features = module(x)
    return F.cross_entropy(head(features), labels)
