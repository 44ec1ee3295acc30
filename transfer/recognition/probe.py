"""The fast linear probe: many linear heads on cached features, trained together, one chosen on held-out images.

The learning rate that fits depends on the features' scale, and each width has its own. So features are
standardised and a grid of learning rate x weight decay is trained as one batched SGD, [D, H, K] weights in one
matrix product. The choice uses a validation split of the training images, never the test images; the chosen
head is then trained again on all of the training images.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ProbeSettings:
    """epochs: passes over the training images, but at least ``min_iterations`` steps of ``batch`` images."""

    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    weight_decays: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    momentum: float = 0.9
    batch: int = 256
    epochs: int = 20
    min_iterations: int = 500
    validation: float = 0.2

    def iterations(self, images: int) -> int:
        return max(self.min_iterations, round(self.epochs * images / self.batch))


@dataclass(frozen=True)
class Probe:
    """A standardised linear classifier. weight: [D, K]; bias: [K]; mean, std: [D] of the training features."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    learning_rate: float
    weight_decay: float
    validation_top1: float  # percent

    def __call__(self, features: Tensor) -> Tensor:
        """[N, D] -> [N, K] logits."""
        return (features - self.mean) / self.std @ self.weight + self.bias


def train_probe(features: Tensor, labels: Tensor, classes: int, settings: ProbeSettings, seed: int = 0) -> Probe:
    """The best head of the grid. features: [N, D]; labels: int64 [N] in 0..classes-1."""
    mean, std = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    features = (features - mean) / std
    train, validation = split(labels, settings.validation, seed)
    grid = list(itertools.product(settings.learning_rates, settings.weight_decays))
    rates, decays = features.new_tensor(grid).T
    weight, bias = train_heads(features[train], labels[train], classes, rates, decays, settings, seed)
    correct = heads_top1(features[validation], labels[validation], weight, bias)
    best = int(correct.argmax())  # the first of equals: the smaller learning rate and weight decay
    chosen = slice(best, best + 1)
    weight, bias = train_heads(features, labels, classes, rates[chosen], decays[chosen], settings, seed)
    return Probe(weight[:, 0], bias[0], mean, std, *grid[best], float(correct[best]))


def heads_top1(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, chunk: int = 1024) -> Tensor:
    """Accuracy of each head in percent, [H]. features: [N, D]; weight: [D, H, K]; bias: [H, K]."""
    correct = torch.zeros(len(bias), dtype=torch.float64, device=bias.device)
    for x, y in zip(features.split(chunk), labels.split(chunk), strict=True):
        logits = (x @ weight.flatten(1)).unflatten(1, bias.shape) + bias
        correct += (logits.argmax(2) == y[:, None]).sum(0)
    return 100 * correct / len(labels)


def split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (train, validation): of each class in turn every 1/fraction-th image, in a random order."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels.cpu()[order].argsort(stable=True)]
    step = round(1 / fraction)
    held_out = torch.arange(len(order)) % step == step - 1
    return order[~held_out].to(labels.device), order[held_out].to(labels.device)


def train_heads(
    features: Tensor, labels: Tensor, classes: int, rates: Tensor, decays: Tensor, settings: ProbeSettings, seed: int
) -> tuple[Tensor, Tensor]:
    """SGD with momentum and a cosine schedule on H softmax heads at once: weights [D, H, K] and biases [H, K].

    features: [N, D]; rates, decays: [H]. The gradient of the mean cross entropy is X'(P - Y)/B in closed form,
    so that one product serves all heads. Biases are not decayed.
    """
    images, dims = features.shape
    heads, batch = len(rates), min(settings.batch, images)
    rates, decays = rates.repeat_interleave(classes), decays.repeat_interleave(classes)  # one per column
    weight, bias = features.new_zeros(dims, heads * classes), features.new_zeros(heads * classes)
    weight_velocity, bias_velocity = torch.zeros_like(weight), torch.zeros_like(bias)
    target = torch.nn.functional.one_hot(labels, classes).to(features.dtype).div_(batch)
    total = settings.iterations(images)
    for i, index in enumerate(_batches(images, batch, total, seed)):
        index = index.to(features.device)
        x = features[index]
        probability = (x @ weight).add_(bias).unflatten(1, (heads, classes)).softmax(2)
        residual = probability.div_(batch).sub_(target[index, None]).flatten(1)
        weight_velocity.mul_(settings.momentum).addmm_(x.T, residual).addcmul_(weight, decays)
        bias_velocity.mul_(settings.momentum).add_(residual.sum(0))
        rate = rates * (0.5 * (1 + math.cos(math.pi * i / total)))
        weight.addcmul_(weight_velocity, rate, value=-1)
        bias.addcmul_(bias_velocity, rate, value=-1)
    return weight.view(dims, heads, classes), bias.view(heads, classes)


def _batches(images: int, batch: int, total: int, seed: int):
    """``total`` index batches, [batch] each, from one random order after another; incomplete ones are left out."""
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < total:
        order = torch.randperm(images, generator=generator)
        for start in range(0, images - batch + 1, batch):
            if done == total:
                return
            yield order[start : start + batch]
            done += 1
