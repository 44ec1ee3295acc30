"""The fast linear probe: many linear heads on cached features, trained together, one chosen on held-out images.

The learning rate that fits depends on the features' scale, and each width has its own. So features are centred and
brought to one scale (their proportions stay, as the paper's head sees them), and a grid of learning rate x weight decay
is trained as one batched SGD, [D, H, K] weights in one matrix product. Features of several views of each image stand
for the paper's endless ones: each epoch sees another. The choice uses a validation split of the training images, never
the test images; the chosen head is then trained again on all of the training images. Of so few images that none can be
held out nothing is chosen: the head of the middle of the grid is trained, and a warning says so.
"""

import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pretrain.common.settings import Numbers, PositiveInt, settings

CHUNK = 8192  # images whose features are in float at a time


@settings
class ProbeSettings:
    """epochs: passes over the training images, but at least ``min_iterations`` steps of ``batch`` images."""

    learning_rates: Numbers = (0.003, 0.01, 0.03, 0.1, 0.3)
    weight_decays: Numbers = (0.0, 1e-3, 1e-2)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    batch: PositiveInt = 256
    epochs: PositiveInt = 20
    min_iterations: PositiveInt = 500
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.2

    def iterations(self, images: int) -> int:
        return max(self.min_iterations, round(self.epochs * images / min(self.batch, images)))


@dataclass(frozen=True)
class Scale:
    """Centres features and brings them to one scale. mean: [D]; std: a number, the root of their mean variance."""

    mean: Tensor
    std: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """[N, D] of any precision and device -> of mean 0 and mean variance 1, as ``mean`` is."""
        return (features.to(self.mean) - self.mean) / self.std


@dataclass(frozen=True)
class Probe:
    """A linear classifier of scaled features. weight: [D, K]; bias: [K]."""

    weight: Tensor
    bias: Tensor
    scale: Scale
    learning_rate: float
    weight_decay: float
    validation_top1: float  # percent; not a number where nothing could be held out

    def __call__(self, features: Tensor) -> Tensor:
        """[N, D] -> [N, K] logits."""
        return torch.cat([self.scale(part) @ self.weight + self.bias for part in features.split(CHUNK)])


def train_probe(
    features: list[Tensor], tested: Tensor, labels: Tensor, classes: int, settings: ProbeSettings, seed: int = 0
) -> Probe:
    """The best head of the grid.

    features: [N, D] of each training view; tested: those of the view that is tested on, by which held-out images
    are judged; labels: int64 [N] in 0..classes-1, on the device that computes. An image is held out in all its views.
    """
    scale = scale_of(features, labels.device)
    train, validation = split(labels, settings.validation, seed)
    grid = list(itertools.product(settings.learning_rates, settings.weight_decays))
    rates, decays = scale.mean.new_tensor(grid).T
    if len(validation):
        weight, bias = train_heads(features, labels, train, classes, rates, decays, settings, seed, scale)
        correct = heads_top1(tested, labels, validation, weight, bias, scale)
        best = int(correct.argmax())  # the first of equals: the smaller learning rate and weight decay
        top1 = float(correct[best])
    else:
        middle = (values[len(values) // 2] for values in (settings.learning_rates, settings.weight_decays))
        best, top1 = grid.index(tuple(middle)), math.nan
        warnings.warn(
            f"none of {len(labels)} training images can be held out, so the learning rate {grid[best][0]:g} and the "
            f"weight decay {grid[best][1]:g} of the linear head are the middle of the grid and no choice", stacklevel=2,
        )  # fmt: skip
    chosen, everything = slice(best, best + 1), torch.arange(len(labels))
    weight, bias = train_heads(
        features, labels, everything, classes, rates[chosen], decays[chosen], settings, seed, scale
    )
    return Probe(weight[:, 0], bias[0], scale, *grid[best], top1)


def scale_of(features: list[Tensor], device: torch.device) -> Scale:
    """Mean of each feature and the root of their mean variance over all views, summed in float64."""
    dtype = torch.float64 if features[0].dtype == torch.float64 else torch.float32
    total, squares = 0.0, 0.0
    for part in itertools.chain.from_iterable(view.split(CHUNK) for view in features):
        part = part.to(device, torch.float64)
        total, squares = total + part.sum(0), squares + part.square().sum(0)
    count = sum(len(view) for view in features)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).mean().sqrt().clamp_min(1e-6)
    return Scale(mean.to(dtype), std.to(dtype))


def heads_top1(
    features: Tensor, labels: Tensor, chosen: Tensor, weight: Tensor, bias: Tensor, scale: Scale, chunk: int = 1024
) -> Tensor:
    """Accuracy of each head in percent, [H], on the ``chosen`` rows. weight: [D, H, K]; bias: [H, K]."""
    correct = torch.zeros(len(bias), dtype=torch.float64, device=bias.device)
    for index in chosen.split(chunk):
        logits = (scale(features[index]) @ weight.flatten(1)).unflatten(1, bias.shape) + bias
        correct += (logits.argmax(2) == labels[index.to(labels.device), None]).sum(0)
    return 100 * correct / len(chosen)


def split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (train, validation), on the CPU: of each class in turn a share of the images, evenly, in a random order.

    The only image of a class is never held out: nothing would teach what it is judged by.
    """
    labels = labels.cpu()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    places = torch.arange(len(order) + 1, dtype=torch.float64) * fraction + 1e-9  # 3 * 0.1 is three tenths
    held_out = places.floor().diff() > 0
    held_out &= labels.bincount()[labels[order]] > 1
    return order[~held_out], order[held_out]


def train_heads(
    features: list[Tensor], labels: Tensor, chosen: Tensor, classes: int, rates: Tensor, decays: Tensor,
    settings: ProbeSettings, seed: int, scale: Scale,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """SGD with momentum and a cosine schedule on H softmax heads at once: weights [D, H, K] and biases [H, K].

    Trained on the ``chosen`` rows of the views [N, D]; rates, decays: [H]. The gradient of the mean cross entropy is
    X'(P - Y)/B in closed form, so that one product serves all heads. Biases are not decayed.
    """
    dims, heads, batch = len(scale.mean), len(rates), min(settings.batch, len(chosen))
    rates, decays = rates.repeat_interleave(classes), decays.repeat_interleave(classes)  # one per column
    weight, bias = scale.mean.new_zeros(dims, heads * classes), scale.mean.new_zeros(heads * classes)
    weight_velocity, bias_velocity = torch.zeros_like(weight), torch.zeros_like(bias)
    total = settings.iterations(len(chosen))
    for i, (epoch, index) in enumerate(_batches(len(chosen), batch, total, seed)):
        index = chosen[index]
        x = scale(features[epoch % len(features)][index])
        target = torch.nn.functional.one_hot(labels[index.to(labels.device)], classes).to(x.dtype).div_(batch)
        probability = (x @ weight).add_(bias).unflatten(1, (heads, classes)).softmax(2)
        residual = probability.div_(batch).sub_(target[:, None]).flatten(1)
        weight_velocity.mul_(settings.momentum).addmm_(x.T, residual).addcmul_(weight, decays)
        bias_velocity.mul_(settings.momentum).add_(residual.sum(0))
        rate = rates * (0.5 * (1 + math.cos(math.pi * i / total)))
        weight.addcmul_(weight_velocity, rate, value=-1)
        bias.addcmul_(bias_velocity, rate, value=-1)
    return weight.view(dims, heads, classes), bias.view(heads, classes)


def _batches(images: int, batch: int, total: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """``total`` times (epoch, indices [batch]) from one random order after another; incomplete ones are left out."""
    generator = torch.Generator().manual_seed(seed)
    done = epoch = 0
    while done < total:
        order = torch.randperm(images, generator=generator)
        for start in range(0, images - batch + 1, batch):
            if done == total:
                return
            yield epoch, order[start : start + batch]
            done += 1
        epoch += 1
