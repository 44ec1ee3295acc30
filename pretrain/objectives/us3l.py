"""One training step of universally slimmable self-supervised learning.

"Three guidelines you should know for universally slimmable self-supervised learning" (US3L, CVPR 2023), Algorithm 1.
f = backbone + projector, h = predictor (only with base loss MSE), g = auxiliary distillation head, m = momentum copy
of f at width w_max. The base network (largest width) minimises the base loss; every sub-network distils:

    loss = base(f(x; w_max), base targets) + sum_w distill(student(f(x; w)), distillation targets)

always across opposite views, every distillation term of weight 1. The choices of ``Objective`` span the 17 cases of
Table 7; the default is case 13, the method itself. docs/method.md, sections 2 and 3.
"""

import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pretrain.errors import UserError
from pretrain.objectives.heads import predictor, projector
from pretrain.objectives.losses import pair_loss, per_chunk
from pretrain.slimmable.norms import BatchStatistics, SynchronisedStatistics
from pretrain.slimmable.widths import WIDTH_MAX

Loss = Literal["infonce", "mse"]


@dataclass(frozen=True)
class Objective:
    """The loss design (Table 7).

    base, distill: loss of the largest network and of the sub-networks; distill ``none`` gives each width the base loss
    on targets of its own width. aux_head: g. momentum_base, momentum_sub: whether the base, the sub-networks take the
    momentum encoder's projections as targets, else the base network's own of this step.
    student: what of a sub-network meets the target without g: ``auto`` is h(z) with base MSE and z with base InfoNCE,
    ``z`` is Eq. 6 to the letter. outputs: projection size, by default 256 for InfoNCE and 2048 for MSE.
    momentum: EMA coefficient. gather: negatives from all processes. sync_norms: batch statistics of all processes.
    """

    base: Loss = "infonce"
    distill: Loss | Literal["none"] = "mse"
    aux_head: bool = True
    momentum_base: bool = True
    momentum_sub: bool = True
    temperature: float = 0.5
    student: Literal["auto", "z"] = "auto"
    hidden: int = 2048
    outputs: int | None = None
    momentum: float = 0.99
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
        if not 0 <= self.momentum <= 1:
            raise UserError(f"objective.momentum is {self.momentum:g}; expected a number from 0 to 1")


class Term(NamedTuple):
    """One summand of a step's loss: ``base`` or ``distill``, the width it belongs to, and its scalar value."""

    name: str
    width: float
    value: Tensor


class US3L(nn.Module):
    """Backbone, heads, momentum encoder, and the losses of one step in one call.

    ``forward(views, widths)`` runs every width, so DistributedDataParallel sees one forward. All trainable parameters
    take part in it (g with weight 0 while no sub-network runs), so each has a gradient in every step.

    chunks: parts of this process's batch. width_max: w_max, the momentum encoder's width.
    """

    def __init__(self, backbone: nn.Module, settings: Objective, chunks: int = 1, width_max: float = WIDTH_MAX):
        super().__init__()
        settings.check()
        self.settings, self.chunks, self.width_max = settings, chunks, width_max
        outputs = settings.outputs or (256 if settings.base == "infonce" else 2048)
        simsiam = settings.base == "mse" and not settings.has_momentum
        self.backbone = backbone
        self.projector = projector(backbone.num_features(WIDTH_MAX), settings.hidden, outputs, final_norm=simsiam)
        self.predictor = predictor(outputs, settings.hidden) if settings.base == "mse" else None
        self.aux_head = predictor(outputs, settings.hidden) if settings.aux_head else None
        self.momentum_encoder = None
        if settings.has_momentum:
            self.momentum_encoder = copy.deepcopy(nn.ModuleList([self.backbone, self.projector])).requires_grad_(False)
        self.base_loss = pair_loss(settings.base, settings.temperature, settings.gather)
        own_width = settings.distill == "none"
        self.distill_loss = (
            self.base_loss if own_width else pair_loss(settings.distill, settings.temperature, settings.gather)
        )

    @torch.no_grad()
    def update_momentum(self) -> None:
        """m <- momentum * m + (1 - momentum) * f, parameters only; once per iteration, before its forward."""
        if self.momentum_encoder is None:
            return
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        torch._foreach_lerp_(list(self.momentum_encoder.parameters()), online, 1 - self.settings.momentum)

    def forward(self, views: tuple[Tensor, Tensor], widths: list[float]) -> list[Term]:
        """views: two augmented views, each normalised [B, 3, H, W]. widths: base network first (``WidthSampler``)."""
        x = torch.cat(views)
        kind = SynchronisedStatistics if self.settings.sync_norms else BatchStatistics
        statistics = kind(groups=2 * self.chunks)
        momentum = self._momentum_targets(x, statistics)
        z = self._project(x, widths[0], statistics)
        base_target = momentum if self.settings.momentum_base else None
        terms = [Term("base", widths[0], self._base(z, base_target, statistics))]
        distill_target = momentum if self.settings.momentum_sub else z.detach()
        for width in widths[1:]:
            sub = self._project(x, width, statistics)
            if self.settings.distill == "none":
                terms.append(Term("distill", width, self._base(sub, None, statistics)))
            else:
                loss = per_chunk(self.distill_loss, self._student(sub, statistics), distill_target, self.chunks)
                terms.append(Term("distill", width, loss))
        if len(widths) == 1:
            terms[0] = terms[0]._replace(value=terms[0].value + self._zero(self.aux_head))
        return terms

    def _project(self, x: Tensor, width: float, statistics: BatchStatistics) -> Tensor:
        return self.projector(self.backbone(x, width, statistics), statistics)

    @torch.no_grad()
    def _momentum_targets(self, x: Tensor, statistics: BatchStatistics) -> Tensor | None:
        """m(x) at w_max whatever the widths of the step, by batch statistics."""
        if self.momentum_encoder is None:
            return None
        backbone, head = self.momentum_encoder
        return head(backbone(x, self.width_max, statistics), statistics)

    def _base(self, z: Tensor, target: Tensor | None, statistics: BatchStatistics) -> Tensor:
        """Without a momentum target: MSE against z itself, detached; InfoNCE with gradient through both views."""
        if self.predictor is None:
            return per_chunk(self.base_loss, z, z if target is None else target, self.chunks)
        own = z.detach() if target is None else target
        return per_chunk(self.base_loss, self.predictor(z, statistics), own, self.chunks)

    def _student(self, z: Tensor, statistics: BatchStatistics) -> Tensor:
        if self.aux_head is not None:
            return self.aux_head(z, statistics)
        if self.predictor is not None and self.settings.student == "auto":
            return self.predictor(z, statistics)
        return z

    @staticmethod
    def _zero(head: nn.Module | None) -> Tensor | float:
        """0 with a gradient of 0 for every parameter of an unused head."""
        return 0.0 if head is None else sum(p.sum() * 0.0 for p in head.parameters())
