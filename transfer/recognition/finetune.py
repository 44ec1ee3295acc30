"""Fine-tuning: the plain network of a width and a new classifier, all of it trained on the target's images.

The recipe is what timm's training script is mostly used with: AdamW (Loshchilov and Hutter, ICLR 2019) without weight
decay on norms, biases and embeddings, a linear warm-up and a cosine to 0; for vision transformers rates that fall from
layer to layer towards the images (Clark et al., "ELECTRA", ICLR 2020; Bao et al., "BEiT", ICLR 2022).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator
from pretrain.run.device import autocast
from transfer.recognition.sgd import new_head

LAYER_DECAY = 0.75  # of vision transformers
STEPS = 500  # at least, however few images there are


@dataclass(frozen=True)
class FinetuneSettings:
    """learning_rate: at the peak and for this batch. warmup: share of the steps before it. layer_decay: the rate of a
    layer over that of the next one. label_smoothing: of the targets. mixup: alpha of the Beta distribution, 0 for none
    (Zhang et al., "mixup", ICLR 2018).
    """

    learning_rate: float
    epochs: int
    batch: int = 128
    weight_decay: float = 0.05
    warmup: float = 0.1
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0

    def per_epoch(self, images: int) -> int:
        """Steps of a pass over so many images; a last batch of one image is left out, which has no variance."""
        whole, rest = divmod(images, self.batch)
        return whole + (rest > 1)

    def factor(self, step: int, steps: int) -> float:
        """Share of the learning rate at ``step`` of ``steps``."""
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def finetune_settings(
    backbone: str, images: int, batch: int | None = None, epochs: int | None = None, learning_rate: float | None = None,
    layer_decay: float | None = None, **rest: float,
) -> FinetuneSettings:  # fmt: skip
    """The settings for a backbone and so many training images, with some of it changed.

    The rate is 0.001 for 256 images and scales with the batch; 30 epochs, more where they have fewer than 500 steps.
    """
    batch = min(batch or FinetuneSettings.batch, images)
    if batch < 2:
        raise UserError(f"fine-tuning with {images} training image(s) in batches of {batch}; expected at least 2")
    epochs = epochs or max(30, math.ceil(STEPS * batch / images))
    layer_decay = layer_decay or (LAYER_DECAY if backbone.startswith("vit") else 1.0)
    return FinetuneSettings(learning_rate or 1e-3 * batch / 256, epochs, batch, layer_decay=layer_decay, **rest)


def check_layer_decay(backbone: str, layer_decay: float | None) -> None:
    """UserError for rates by layer where a backbone has no such layers."""
    if layer_decay not in (None, 1.0) and not backbone.startswith("vit"):
        raise UserError(f"layer_decay is for vision transformers; {backbone} takes one learning rate (layer_decay=1)")


def fine_tuned(
    modules: dict[float, nn.Module],
    sizes: dict[float, int],
    epoch_batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    images: int,
    classes: int,
    tuning: FinetuneSettings,
    seed: int,
    tick: Callable[[float], None] = lambda loss: None,
    precision: str = "fp32",
) -> dict[float, nn.Sequential]:
    """The networks (``modules`` by width, changed in place) with classifiers on them, in eval mode.

    sizes: of their features. epoch_batches(epoch): normalised images [B, 3, H, W] and labels int64 [B]. tick: called
    after each step with the mean loss of the widths. precision: of the forward passes, fp32 or bf16; weights, losses
    and the optimizer's values stay float32.
    """
    networks = {}
    for width, module in modules.items():
        head = new_head(sizes[width], classes, seed).to(next(module.parameters()).device)
        networks[width] = nn.Sequential(module.requires_grad_(True), head).train()
    optimizers = {w: torch.optim.AdamW(parameter_groups(net, tuning), lr=0.0) for w, net in networks.items()}
    step, steps = 0, tuning.epochs * tuning.per_epoch(images)
    for epoch in range(tuning.epochs):
        for x, labels in epoch_batches(epoch):
            if len(labels) < 2:
                continue
            x, targets = mixed(x, one_hot(labels, classes, tuning.label_smoothing), tuning.mixup, seed, step)
            losses, rate = [], tuning.learning_rate * tuning.factor(step, steps)
            for width, network in networks.items():
                for group in optimizers[width].param_groups:
                    group["lr"] = rate * group["scale"]
                with autocast(precision, x.device):
                    scores = network(x)
                loss = F.cross_entropy(scores.float(), targets)
                optimizers[width].zero_grad()
                loss.backward()
                optimizers[width].step()
                losses.append(loss.detach())
            tick(float(torch.stack(losses).mean()))
            step += 1
    return {width: network.eval() for width, network in networks.items()}


def parameter_groups(network: nn.Sequential, tuning: FinetuneSettings) -> list[dict]:
    """Groups for AdamW: ``scale`` of the rate by layer; no weight decay for vectors and embeddings."""
    module, head = network
    depth = len(module.blocks) if hasattr(module, "blocks") else 0
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        decays = parameter.dim() > 1 and name not in ("cls_token", "pos_embed")
        groups.setdefault((layer_of(name, depth), decays), []).append(parameter)
    groups.setdefault((depth + 1, True), []).append(head.weight)
    groups.setdefault((depth + 1, False), []).append(head.bias)
    return [
        {
            "params": parameters, "weight_decay": tuning.weight_decay if decays else 0.0,
            "scale": tuning.layer_decay ** (depth + 1 - layer),
        }
        for (layer, decays), parameters in groups.items()
    ]  # fmt: skip


def layer_of(name: str, depth: int) -> int:
    """0 for the embeddings of a vision transformer of ``depth`` blocks, i + 1 for block i, depth + 1 for the rest.

    >>> [layer_of(name, 12) for name in ("patch_embed.proj.weight", "blocks.0.norm1.bias", "blocks.11.mlp.fc1.bias")]
    [0, 1, 12]
    >>> layer_of("norm.weight", 12)
    13
    """
    first, _, rest = name.partition(".")
    if depth and first in ("cls_token", "pos_embed", "patch_embed"):
        return 0
    return int(rest.partition(".")[0]) + 1 if depth and first == "blocks" else depth + 1


def one_hot(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """int64 [B] -> [B, classes]: 1 - smoothing for the class, the rest shared by all."""
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mixed(x: Tensor, targets: Tensor, alpha: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Images and targets blended with those of another order, by one share a batch; a function of (seed, step)."""
    if not alpha:
        return x, targets
    draw = generator("mixup", seed, step)
    share, order = float(draw.beta(alpha, alpha)), torch.from_numpy(np.asarray(draw.permutation(len(x))))
    return share * x + (1 - share) * x[order], share * targets + (1 - share) * targets[order]
