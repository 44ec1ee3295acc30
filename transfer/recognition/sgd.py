"""The linear evaluation of the paper: one linear layer by SGD on augmented images over frozen features.

docs/method.md, section 5: learning rate 30, batch 512, 100 epochs, x 0.1 after 60 % and 80 % of them, no weight decay.
One decoded batch serves every width; each width has a head of its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SgdSettings:
    learning_rate: float = 30.0
    batch: int = 512
    epochs: int = 100
    milestones: tuple[float, ...] = (0.6, 0.8)  # of the epochs
    momentum: float = 0.9


def train_heads_sgd(
    modules: dict[float, nn.Module],
    epoch_batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    classes: int,
    settings: SgdSettings,
    seed: int,
    tick: Callable[[float], None] = lambda loss: None,
) -> dict[float, nn.Linear]:
    """A linear head for each width.

    modules: frozen plain backbones by width, in eval mode. epoch_batches(epoch) yields normalised augmented images
    [B, 3, H, W] and labels int64 [B] on their device. tick: called after each step with the mean loss of the widths.
    """  # fmt: skip
    heads = {width: _head(module, classes, seed) for width, module in modules.items()}
    parameters = [p for head in heads.values() for p in head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum)
    steps = [round(share * settings.epochs) for share in settings.milestones]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps, gamma=0.1)
    for epoch in range(settings.epochs):
        for x, labels in epoch_batches(epoch):
            loss = torch.stack([_loss(modules[w], head, x, labels) for w, head in heads.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tick(float(loss.detach()) / len(heads))
        schedule.step()
    return heads


def _head(module: nn.Module, classes: int, seed: int) -> nn.Linear:
    """Weights of deviation 0.01, as is usual on frozen features; the same for every run of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(module.channels.outer[-1], classes)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
    return head.to(next(module.parameters()).device)


def _loss(module: nn.Module, head: nn.Linear, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        features = module(x)
    return F.cross_entropy(head(features), labels)
