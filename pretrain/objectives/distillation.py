"""Distillation of a frozen teacher into every width at once, with or without a self-supervised loss beside it.

The teacher T sees each view once a step. Every network of the step, s = g(f(x; w)), learns the same t = T(x):

    cosine      -cos(s, t)
    mse         mean of (s - t')^2, t' = t standardised over its features (mean 0, variance 1)
    relational  cross_entropy(softmax([t, D] t / tau_t), softmax([t, D] s / tau)), s and t of length 1, D a queue of
                earlier t: Fang et al., "SEED: self-supervised distillation for visual representation" (ICLR 2021)

With ``centre`` (the default) t is first less its mean over the batch: what a teacher says of every image alike teaches
nothing, but a constant answer to it has most of the cosine already.

A target that is the same for all widths, at all times, is the third guideline of US3L (CVPR 2023) taken to its end.
With tokens the rows of s and t are places instead of images: a student's are those of its last map, t is resampled to
them. ``base`` lets the largest network learn by itself as well, with US3L's base loss on a projector of its own.
docs/method.md, section 7.
"""

from dataclasses import field
from math import isqrt
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.settings import NAMED_NONE, Features, NotNegative, PositiveFloat, Share, settings
from pretrain.data.facts import ImageFacts
from pretrain.objectives.losses import at_least_fp32, negative_cosine, unit
from pretrain.objectives.step import Batch, Objective, ObjectiveSettings, Step, Term, heads
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.run.distributed import all_gather
from pretrain.slimmable.heads import predictor, projector_of
from pretrain.slimmable.norms.statistics import BatchStatistics, statistics_of
from pretrain.slimmable.widths import WIDTH_MAX
from pretrain.teachers.load import load_teacher
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Teacher


@settings
class DistillationSettings(ObjectiveSettings):
    """A teacher, what is learnt from it, and what is learnt beside it.

    loss: ``cosine``, ``mse`` (to the teacher's features, standardised) or ``relational`` (similarities to a queue of
    the teacher's features, as SEED). centre: take the batch's mean from the teacher's features.
    opposite: learn the teacher's features of the other view, which takes two views.
    aux_head: the head g on the projections. hidden: features inside of the heads. queue: the teacher's features that
    ``relational`` keeps. temperature, teacher_temperature: of the two softmaxes of ``relational``.
    base: self-supervised loss of the largest network beside the teacher's, with a momentum encoder; it takes two views.
    base_weight: its factor. base_temperature: of InfoNCE. base_outputs: projection size, by default 256 for InfoNCE and
    2048 for MSE. momentum, momentum_end: EMA coefficient at the start and the end.
    sync_norms: batch statistics of all processes.
    """

    name: Literal["distillation"] = "distillation"
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    loss: Literal["cosine", "mse", "relational"] = "cosine"
    centre: bool = True
    opposite: bool = False
    aux_head: bool = True
    hidden: Features = 2048
    queue: Features = 32768
    temperature: PositiveFloat = 0.2
    teacher_temperature: PositiveFloat = 0.01
    base: Annotated[Literal["none", "infonce", "mse"], NAMED_NONE] = "none"
    base_weight: NotNegative = 1.0
    base_temperature: PositiveFloat = 0.5
    base_outputs: Features | None = None
    momentum: Share = 0.99
    momentum_end: Share = 0.99
    sync_norms: bool = False

    @property
    def num_views(self) -> int:
        return 2 if self.opposite or self.base != "none" else 1

    def check(self) -> None:
        """UserError for a teacher that is none, or tokens that are not to be compared place by place."""
        self.teacher.check()
        if self.teacher.output == "tokens" and (self.opposite or self.loss == "relational"):
            option = "opposite = True" if self.opposite else "loss = 'relational'"
            raise UserError(
                f"objective.{option} does not go with objective.teacher.output = 'tokens', which are compared place by "
                "place; expected the cosine or mse of one view with itself"
            )

    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> "Distillation":
        return Distillation(backbone, load_teacher(self.teacher, images), self, chunks, width_max)

    def learner(self) -> US3LSettings:
        """The self-supervised loss as US3L's settings say it."""
        return US3LSettings(
            base=self.base, aux_head=False, temperature=self.base_temperature, hidden=self.hidden,
            outputs=self.base_outputs, momentum=self.momentum, momentum_end=self.momentum_end,
            sync_norms=self.sync_norms,
        )  # fmt: skip


class Distillation(Objective):
    """Student backbone and heads, and for ``relational`` the teacher's earlier features.

    chunks: parts of this process's batch that batch norms see. width_max: of the momentum encoder, if there is one.
    """

    def __init__(
        self, backbone: nn.Module, teacher: Teacher, settings: DistillationSettings, chunks: int = 1,
        width_max: float = WIDTH_MAX,
    ):  # fmt: skip
        super().__init__()
        self.tokens = settings.teacher.output == "tokens"
        if self.tokens and not backbone.has_maps:
            raise UserError(
                "objective.teacher.output is 'tokens', but the student has no maps; expected a convolutional one"
            )
        self.settings, self.teacher, self.chunks, self.num_views = settings, teacher, chunks, settings.num_views
        self.asks_others = settings.sync_norms
        self.backbone = backbone
        self.projector = projector_of(backbone, settings.hidden, teacher.outputs)
        self.aux_head = predictor(teacher.outputs, settings.hidden) if settings.aux_head else None
        self.learner = None if settings.base == "none" else US3L(backbone, settings.learner(), chunks, width_max)
        if settings.loss == "relational":
            self.register_buffer("queue", unit(torch.randn(settings.queue, teacher.outputs)))
            self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        x, base, terms = torch.cat(batch.views), targets is None, []
        statistics = statistics_of(self.settings.sync_norms, groups=self.num_views * self.chunks)
        learner = self.learner if base else None
        momentum = None if learner is None else learner.momentum_targets(x, statistics)
        for width in widths:
            features = self._features(x, width, statistics)
            if targets is None:
                targets = self._targets(batch.taught, features)
            if learner is not None and not terms:
                pooled = features.mean((2, 3)) if self.tokens else features
                loss = learner.base(learner.projector(pooled, statistics), momentum, statistics)
                terms.append(Term("base", width, self.settings.base_weight * loss))
            loss = self._distil(self._student(features, statistics), targets)
            terms.append(Term("base" if base and not terms else "distill", width, loss))
        return Step(terms, targets)

    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        learner = None if base else self.learner
        waiting = [] if learner is None else heads(learner.projector, learner.predictor)
        return [*self.backbone.unused(widths), *waiting]

    def embed(self, x: Tensor, width: float) -> Tensor:
        statistics = BatchStatistics()
        z = self.projector(self._rows(self._features(x, width, statistics)), statistics)
        return z.unflatten(0, (len(x), -1)).mean(1) if self.tokens else z

    def update_momentum(self, progress: float) -> None:
        if self.learner is not None:
            self.learner.update_momentum(progress)

    def _features(self, x: Tensor, width: float, statistics: BatchStatistics) -> Tensor:
        """Pooled [views * B, c], or for tokens the last map [views * B, c, h, w]."""
        return self.backbone(x, width, statistics, **({"pooled": False} if self.tokens else {}))

    def _rows(self, features: Tensor) -> Tensor:
        """[views * B, c], or [views * B * h * w, c] of a map."""
        return features.permute(0, 2, 3, 1).flatten(0, 2) if self.tokens else features

    def _student(self, features: Tensor, statistics: BatchStatistics) -> Tensor:
        z = self.projector(self._rows(features), statistics)
        return z if self.aux_head is None else self.aux_head(z, statistics)

    def _targets(self, taught: Tensor, features: Tensor) -> Tensor:
        """What each row of the students learns, [rows, D], from what the teacher says of the views.

        features: of a student, on whose places the teacher's tokens are resampled.
        """
        if self.tokens:
            side = isqrt(taught.shape[1])
            maps = at_least_fp32(taught).transpose(1, 2).unflatten(2, (side, side))
            if maps.shape[2:] != features.shape[2:]:
                maps = F.interpolate(maps, features.shape[2:], mode="bilinear", antialias=True)
            taught = self._rows(maps)
        if self.settings.centre:
            taught = _centred(taught, self.num_views * self.chunks)
        targets = _standardised(taught) if self.settings.loss == "mse" else unit(taught)
        return torch.cat(targets.chunk(2)[::-1]) if self.settings.opposite else targets

    def _distil(self, student: Tensor, targets: Tensor) -> Tensor:
        """The loss of rows [views * B, D], or as many for each place, mean over the views."""
        loss = {"cosine": negative_cosine, "mse": _squared, "relational": self._relational}[self.settings.loss]
        pairs = zip(student.chunk(self.num_views), targets.chunk(self.num_views), strict=True)
        return sum(loss(s, t) for s, t in pairs) / self.num_views

    def _relational(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean cross entropy over the teacher's features of the same row and the queue."""
        with torch.autocast(student.device.type, enabled=False):
            student = unit(student)
            queue = self.queue.to(student.dtype)
            similar = [torch.cat([(s * teacher).sum(1, keepdim=True), s @ queue.T], 1) for s in (student, teacher)]
            goal = (similar[1] / self.settings.teacher_temperature).softmax(dim=1)
            return -(goal * (similar[0] / self.settings.temperature).log_softmax(dim=1)).sum(dim=1).mean()

    @torch.no_grad()
    def finish_step(self, targets: Tensor) -> None:
        """The oldest features make room for those of all processes; after the gradients, which need the old ones."""
        if self.settings.loss != "relational":
            return
        by_sample = all_gather(targets.unflatten(0, (self.num_views, -1)).transpose(0, 1).contiguous())
        fresh = by_sample.transpose(0, 1).flatten(0, 1)[-len(self.queue) :].to(self.queue.dtype)
        places = (self.position + torch.arange(len(fresh), device=fresh.device)) % len(self.queue)
        self.queue[places] = fresh
        self.position.copy_((self.position + len(fresh)) % len(self.queue))


def _centred(x: Tensor, groups: int) -> Tensor:
    """Rows less their mean over each of ``groups`` equal parts, the chunks of the views, as batch norms see them."""
    parts = at_least_fp32(x).unflatten(0, (groups, -1))
    return (parts - parts.mean(1, keepdim=True)).flatten(0, 1)


def _standardised(x: Tensor) -> Tensor:
    return F.layer_norm(at_least_fp32(x), x.shape[1:])


def _squared(student: Tensor, targets: Tensor) -> Tensor:
    with torch.autocast(student.device.type, enabled=False):
        return F.mse_loss(at_least_fp32(student), targets)
