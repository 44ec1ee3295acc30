"""MoCo v3, alone, universally slimmable, and US3L's form of it for vision transformers.

Chen, Xie and He, "An empirical study of training self-supervised vision transformers" (ICCV 2021), Algorithm 1: queries
q = h(f(x)) against keys k = m(x) of the other view and, as negatives, of all other images of the batch, that of all
processes:

    2 tau * cross_entropy(q k^T / tau, own image), summed over the two orders of the views

Universally slimmable (US3L, CVPR 2023, Table 3; docs/method.md, section 5) in three ways:
``own``, US+MoCo v3: every width has the one predictor h and keys of the momentum encoder at its own width;
``shared``, the released program's US+MoCo v3: every width has the one predictor h and the base network's keys;
``base``, US3L: sub-networks have a predictor of their own, shared among them and at the start a copy of h, and the base
network's keys.
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.settings import Features, PositiveFloat, Share, settings
from pretrain.data.facts import ImageFacts
from pretrain.objectives.losses import unit
from pretrain.objectives.momentum import MomentumEncoder, coefficient
from pretrain.objectives.step import Batch, Objective, ObjectiveSettings, Step, Term, heads
from pretrain.run.distributed import all_gather, process_rank
from pretrain.slimmable.heads import bias_free_mlp
from pretrain.slimmable.norms.statistics import BatchStatistics, statistics_of
from pretrain.slimmable.widths import WIDTH_MAX


@settings
class MoCoV3Settings(ObjectiveSettings):
    """keys: whose keys sub-networks are compared with, ``own``, ``shared`` or ``base``. temperature: of the contrast.

    hidden, outputs: of the heads.

    momentum, momentum_end: EMA coefficient at the start and the end. sync_norms: the heads' (and a CNN's) batch
    statistics of all processes.
    """

    name: Literal["mocov3"] = "mocov3"
    keys: Literal["own", "shared", "base"] = "own"
    temperature: PositiveFloat = 0.2
    hidden: Features = 2048
    outputs: Features = 256
    momentum: Share = 0.99
    momentum_end: Share = 1.0
    sync_norms: bool = True

    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> "MoCoV3":
        return MoCoV3(backbone, self, chunks, width_max)


def contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """2 tau * cross entropy of each query [B, D] with its key [B, D] among the keys of all processes."""
    with torch.autocast(queries.device.type, enabled=False):
        logits = unit(queries) @ all_gather(unit(keys)).T / temperature
        own = torch.arange(len(queries), device=queries.device) + len(queries) * process_rank()
        return 2 * temperature * F.cross_entropy(logits, own)


class MoCoV3(Objective):
    """chunks: parts of this process's batch that batch norms see; negatives always come from the whole batch.

    width_max: the base keys' width, w_max.
    """

    asks_others = True

    def __init__(self, backbone: nn.Module, settings: MoCoV3Settings, chunks: int = 1, width_max: float = WIDTH_MAX):
        super().__init__()
        self.settings, self.chunks, self.width_max = settings, chunks, width_max
        hidden, outputs = settings.hidden, settings.outputs
        self.backbone = backbone
        self.projector = bias_free_mlp([backbone.num_features(WIDTH_MAX), hidden, hidden, outputs])
        self.predictor = bias_free_mlp([outputs, hidden, outputs])
        self.sub_predictor = copy.deepcopy(self.predictor) if settings.keys == "base" else None
        self.momentum_encoder = MomentumEncoder(self.backbone, self.projector)

    def update_momentum(self, progress: float) -> None:
        momentum = coefficient(self.settings.momentum, self.settings.momentum_end, progress)
        self.momentum_encoder.update(self.backbone, self.projector, momentum)

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        x, terms = torch.cat(batch.views), []
        statistics = statistics_of(self.settings.sync_norms, groups=2 * self.chunks)
        if targets is None:
            targets = self.momentum_encoder(x, self._key_width(widths[0], base=True), statistics)
            loss = self._contrast(x, widths[0], self.predictor, targets, statistics)
            terms, widths = [Term("base", widths[0], loss)], widths[1:]
        for width in widths:
            keys = targets
            if self.settings.keys == "own":
                keys = self.momentum_encoder(x, self._key_width(width, base=False), statistics)
            loss = self._contrast(x, width, self.sub_predictor or self.predictor, keys, statistics)
            terms.append(Term("distill", width, loss))
        return Step(terms, targets)

    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        students = len(widths) > base
        return [
            *self.backbone.unused(widths),
            *heads(None if base or self.sub_predictor is None else self.predictor),
            *heads(None if students else self.sub_predictor),
        ]

    def embed(self, x: Tensor, width: float) -> Tensor:
        statistics = BatchStatistics()
        return self.projector(self.backbone(x, width, statistics), statistics)

    def _key_width(self, width: float, base: bool) -> float:
        return self.width_max if base and self.settings.keys != "own" else width

    def _contrast(self, x: Tensor, width: float, predictor: nn.Module, keys: Tensor, statistics: BatchStatistics):
        z = self.projector(self.backbone(x, width, statistics), statistics)
        q1, q2 = predictor(z, statistics).chunk(2)
        k1, k2 = keys.chunk(2)
        return contrast(q1, k2, self.settings.temperature) + contrast(q2, k1, self.settings.temperature)
