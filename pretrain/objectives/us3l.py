"""One training step of universally slimmable self-supervised learning.

"Three guidelines you should know for universally slimmable self-supervised learning" (US3L, CVPR 2023), Algorithm 1.
f = backbone + projector, h = predictor (only with base loss MSE), g = auxiliary distillation head, m = momentum copy
of f at width w_max. The base network (largest width) minimises the base loss; every sub-network distils:

    loss = base(f(x; w_max), base targets) + sum_w distill(student(f(x; w)), distillation targets)

always across opposite views, every distillation term of weight 1. The choices of ``US3LSettings`` span the 17 cases of
Table 7; the default is case 13, the method itself. docs/method.md, sections 2 and 3.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.settings import NAMED_NONE, Features, PositiveFloat, Share, settings
from pretrain.data.facts import ImageFacts
from pretrain.objectives.losses import pair_loss, per_chunk
from pretrain.objectives.momentum import MomentumEncoder, coefficient
from pretrain.objectives.step import Batch, Objective, ObjectiveSettings, Step, Term, heads
from pretrain.slimmable.heads import predictor, projector_of
from pretrain.slimmable.norms.statistics import BatchStatistics, statistics_of
from pretrain.slimmable.widths import WIDTH_MAX

Loss = Literal["infonce", "mse"]


@settings
class US3LSettings(ObjectiveSettings):
    """The loss design (Table 7).

    base, distill: loss of the largest network and of the sub-networks; distill ``none`` gives each width the base loss
    on targets of its own width. aux_head: the head g. momentum_base, momentum_sub: whether the base, the sub-networks
    take the momentum encoder's projections as targets, else the base network's own of this step.
    student: what of a sub-network meets the target without g: ``auto`` is h(z) with base MSE and z with base InfoNCE,
    ``z`` is Eq. 6 to the letter. hidden: features inside of the heads. outputs: projection size, by default 256 for
    InfoNCE and 2048 for MSE. temperature: of InfoNCE.
    momentum, momentum_end: EMA coefficient at the start and the end. gather: negatives from all processes.
    sync_norms: batch statistics of all processes.
    """

    name: Literal["us3l"] = "us3l"
    base: Loss = "infonce"
    distill: Annotated[Literal["infonce", "mse", "none"], NAMED_NONE] = "mse"
    aux_head: bool = True
    momentum_base: bool = True
    momentum_sub: bool = True
    temperature: PositiveFloat = 0.5
    student: Literal["auto", "z"] = "auto"
    hidden: Features = 2048
    outputs: Features | None = None
    momentum: Share = 0.99
    momentum_end: Share = 0.99
    gather: bool = False
    sync_norms: bool = False

    @property
    def has_momentum(self) -> bool:
        return self.momentum_base or self.momentum_sub

    def check(self) -> None:
        """UserError for choices that contradict each other."""
        if self.distill == "none" and (self.aux_head or self.has_momentum):
            raise UserError(
                "objective.distill = 'none' gives each width its own targets; "
                "expected aux_head, momentum_base and momentum_sub to be False"
            )
        if self.momentum_base and not self.momentum_sub:
            raise UserError(
                "objective.momentum_base without momentum_sub; expected both, momentum_sub alone or neither"
            )

    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> "US3L":
        return US3L(backbone, self, chunks, width_max)


class US3L(Objective):
    """Backbone, heads, momentum encoder, and the losses of a step.

    chunks: parts of this process's batch. width_max: w_max, the momentum encoder's width.
    """

    def __init__(self, backbone: nn.Module, settings: US3LSettings, chunks: int = 1, width_max: float = WIDTH_MAX):
        super().__init__()
        settings.check()
        self.settings, self.chunks, self.width_max = settings, chunks, width_max
        self.asks_others = settings.gather or settings.sync_norms
        outputs = settings.outputs or (256 if settings.base == "infonce" else 2048)
        simsiam = settings.base == "mse" and not settings.has_momentum
        self.backbone = backbone
        self.projector = projector_of(backbone, settings.hidden, outputs, final_norm=simsiam)
        self.predictor = predictor(outputs, settings.hidden) if settings.base == "mse" else None
        self.aux_head = predictor(outputs, settings.hidden) if settings.aux_head else None
        self.momentum_encoder = MomentumEncoder(self.backbone, self.projector) if settings.has_momentum else None
        self.base_loss = pair_loss(settings.base, settings.temperature, settings.gather)
        own_width = settings.distill == "none"
        self.distill_loss = (
            self.base_loss if own_width else pair_loss(settings.distill, settings.temperature, settings.gather)
        )

    def update_momentum(self, progress: float) -> None:
        if self.momentum_encoder is not None:
            momentum = coefficient(self.settings.momentum, self.settings.momentum_end, progress)
            self.momentum_encoder.update(self.backbone, self.projector, momentum)

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        x, terms = torch.cat(batch.views), []
        statistics = statistics_of(self.settings.sync_norms, groups=2 * self.chunks)
        if targets is None:
            term, targets = self._base_network(x, widths[0], statistics)
            terms, widths = [term], widths[1:]
        for width in widths:
            terms.append(Term("distill", width, self._sub_network(x, width, targets, statistics)))
        return Step(terms, targets)

    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        students = len(widths) > base
        return [
            *self.backbone.unused(widths),
            *heads(None if students else self.aux_head),
            *heads(None if base or self._students_use_predictor else self.predictor),
        ]

    def embed(self, x: Tensor, width: float) -> Tensor:
        return self._project(x, width, BatchStatistics())

    def _project(self, x: Tensor, width: float, statistics: BatchStatistics) -> Tensor:
        return self.projector(self.backbone(x, width, statistics), statistics)

    def _base_network(self, x: Tensor, width: float, statistics: BatchStatistics) -> tuple[Term, Tensor]:
        """Its term and the sub-networks' targets: m(x), at w_max whatever the widths of the step, or its own z."""
        momentum = self.momentum_targets(x, statistics)
        z = self._project(x, width, statistics)
        loss = self.base(z, momentum if self.settings.momentum_base else None, statistics)
        return Term("base", width, loss), momentum if self.settings.momentum_sub else z.detach()

    def _sub_network(self, x: Tensor, width: float, targets: Tensor, statistics: BatchStatistics) -> Tensor:
        z = self._project(x, width, statistics)
        if self.settings.distill == "none":
            return self.base(z, None, statistics)
        return per_chunk(self.distill_loss, self._student(z, statistics), targets, self.chunks)

    def momentum_targets(self, x: Tensor, statistics: BatchStatistics) -> Tensor | None:
        """The momentum encoder's projections of the views ``x``, one view after the other; None without one."""
        return None if self.momentum_encoder is None else self.momentum_encoder(x, self.width_max, statistics)

    def base(self, z: Tensor, target: Tensor | None, statistics: BatchStatistics) -> Tensor:
        """The base loss of projections ``z`` [2B, D], view 1 above view 2, against the momentum encoder's.

        Without these: MSE against z itself, detached; InfoNCE with gradient through both views.
        """
        if self.predictor is None:
            return per_chunk(self.base_loss, z, z if target is None else target, self.chunks)
        own = z.detach() if target is None else target
        return per_chunk(self.base_loss, self.predictor(z, statistics), own, self.chunks)

    @property
    def _students_use_predictor(self) -> bool:
        return self.settings.distill == "none" or (self.aux_head is None and self.settings.student == "auto")

    def _student(self, z: Tensor, statistics: BatchStatistics) -> Tensor:
        if self.aux_head is not None:
            return self.aux_head(z, statistics)
        return self.predictor(z, statistics) if self.predictor is not None and self._students_use_predictor else z
