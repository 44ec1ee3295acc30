"""Real objectives on a network of one convolution whose losses are linear: 10,000 iterations take seconds.

The loss of a network is ``width * factor`` times the sum of the parameters that it uses, so every gradient is known
without autograd and a training can be written out beside the trainer's. ``factor`` is the batch's one number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrain.data.facts import ImageFacts
from pretrain.objectives.mocov3 import MoCoV3, MoCoV3Settings
from pretrain.objectives.step import Batch, Step, Term
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.ops import SlimBatchNorm, SlimConv2d
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, WidthSpace, round_channels

CHANNELS = 32


class ToyBackbone(SlimBackbone):
    """One convolution and its norm, which nothing ever runs."""

    def __init__(self):
        super().__init__()
        self.conv = SlimConv2d(3, CHANNELS, 1)
        self.bn = SlimBatchNorm(CHANNELS)

    @property
    def arguments(self) -> dict:
        return {"name": "toy"}

    def channels(self, width: float) -> int:
        return round_channels(CHANNELS, width)

    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        return WidthSpace.of(self.channels, {CHANNELS}, low, high)

    def num_features(self, width: float) -> int:
        return self.channels(width)

    def plain(self, channels: int, num_classes: int = 0) -> nn.Module:
        raise NotImplementedError


class Scaled(torch.autograd.Function):
    """0, with the gradient ``factor`` for every number of ``parameters``."""

    @staticmethod
    def forward(ctx, factor: Tensor, *parameters: Tensor) -> Tensor:
        ctx.factor, ctx.shapes = factor, [p.shape for p in parameters]
        return torch.zeros_like(factor)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return None, *((grad * ctx.factor).expand(shape) for shape in ctx.shapes)


class ToyLosses:
    """``losses`` of an objective whose networks all use backbone and projector.

    ``base_heads`` and ``student_heads`` name the heads that the base network and the sub-networks use besides.
    """

    base_heads: tuple[str, ...] = ()
    student_heads: tuple[str, ...] = ()

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        terms = []
        for position, width in enumerate(widths):
            base = targets is None and position == 0
            heads = self.base_heads if base else self.student_heads
            used = [p for name in ("backbone", "projector", *heads) for p in getattr(self, name).parameters()]
            value = Scaled.apply(batch.views[0] * width, *(p for p in used if p.requires_grad))
            terms.append(Term("base" if base else "distill", width, value))
        return Step(terms, batch.views[0])


class ToyUS3L(ToyLosses, US3L):
    """US3L's heads and momentum encoder: h for the base network, g for the others."""

    student_heads = ("aux_head",)

    def __init__(self, settings: US3LSettings, width_max: float):
        super().__init__(ToyBackbone(), settings, 1, width_max)
        self.base_heads = ("predictor",) if self.predictor is not None else ()


class ToyMoCoV3(ToyLosses, MoCoV3):
    """US3L of vision transformers: a predictor for the base network, another for the sub-networks."""

    base_heads, student_heads = ("predictor",), ("sub_predictor",)

    def __init__(self, settings: MoCoV3Settings, width_max: float):
        super().__init__(ToyBackbone(), settings, 1, width_max)


@dataclass(frozen=True)
class ToyUS3LSettings(US3LSettings):
    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> ToyUS3L:
        return ToyUS3L(self, width_max)


@dataclass(frozen=True)
class ToyMoCoV3Settings(MoCoV3Settings):
    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> ToyMoCoV3:
        return ToyMoCoV3(self, width_max)
