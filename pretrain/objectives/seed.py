"""SEED and SEED-MSE: distillation from a frozen pretrained teacher, one training per width.

Fang et al., "SEED: self-supervised distillation for visual representation" (ICLR 2021). With t and s the unit
projections of one view by teacher and student, and a queue D of earlier teacher projections:

    cross_entropy(softmax([t, D] t / 1e-4), softmax([t, D] s / 0.5)), then t joins the queue

SEED-MSE (US3L, CVPR 2023, Table 2): two views, a predictor on the student, negative cosine to the teacher's projection
of the other view. The teacher is a full-width universal checkpoint with its projector, in eval mode.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.settings import PositiveFloat, PositiveInt, settings
from pretrain.objectives.losses import mse, unit
from pretrain.objectives.step import Batch, Objective, ObjectiveSettings, Step, Term
from pretrain.run.distributed import all_gather
from pretrain.slimmable.heads import predictor, projector_of
from pretrain.slimmable.statistics import BatchStatistics


@settings
class SeedSettings(ObjectiveSettings):
    """teacher: a universal checkpoint that was pretrained with ``training.keep_projector``.

    loss: ``queue`` (SEED) or ``mse``. hidden: features inside of the heads. queue: projections kept.
    temperature, teacher_temperature: of the two softmaxes.
    """

    name: Literal["seed"] = "seed"
    teacher: str | None = None
    loss: Literal["queue", "mse"] = "queue"
    hidden: PositiveInt = 2048
    queue: PositiveInt = 32768
    temperature: PositiveFloat = 0.5
    teacher_temperature: PositiveFloat = 1e-4

    def check(self) -> None:
        """UserError without a teacher."""
        if not self.teacher:
            raise UserError("objective.teacher is missing; expected a universal checkpoint, objective.teacher=FILE")

    def build(self, backbone: nn.Module, chunks: int, width_max: float, classes: int) -> "Seed":
        from pretrain.universal import load_universal

        teacher = load_universal(self.teacher)
        if teacher.projector is None:
            raise UserError(
                f"{self.teacher} has no projector, which SEED distils from; "
                "expected a teacher that was pretrained with training.keep_projector=True"
            )
        return Seed(backbone, teacher, self, chunks)


class Seed(Objective):
    """Student backbone and projector, the frozen teacher, and for ``queue`` the teacher's earlier projections.

    teacher: ``project(images)`` gives [B, D]. chunks: parts of this process's batch that batch norms see.
    """

    def __init__(self, backbone: nn.Module, teacher: nn.Module, settings: SeedSettings, chunks: int = 1):
        super().__init__()
        self.settings, self.chunks = settings, chunks
        self.views = 1 if settings.loss == "queue" else 2
        outputs = teacher.projector.outputs
        self.backbone = backbone
        self.projector = projector_of(backbone, settings.hidden, outputs)
        self.predictor = predictor(outputs, settings.hidden) if settings.loss == "mse" else None
        self.teacher = teacher.requires_grad_(False).eval()
        self.teacher_name = f"{teacher.metadata['method']}-{teacher.metadata['backbone']['name']}"
        if settings.loss == "queue":
            self.register_buffer("queue", unit(torch.randn(settings.queue, outputs)))
            self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def train(self, mode: bool = True) -> "Seed":
        """The teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        base = targets is None
        x, statistics = torch.cat(batch.views), BatchStatistics(self.views * self.chunks)
        if base:
            targets = unit(self.teacher.project(x))
        terms = []
        for width in widths:
            z = self.projector(self.backbone(x, width, statistics), statistics)
            if self.predictor is None:
                loss = self._distil(unit(z), targets)
            else:
                loss = mse(self.predictor(z, statistics).chunk(2), targets.chunk(2))
            terms.append(Term("base" if base and not terms else "distill", width, loss))
        return Step(terms, targets)

    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        return self.backbone.unused(widths)

    def embed(self, x: Tensor, width: float) -> Tensor:
        statistics = BatchStatistics()
        return self.projector(self.backbone(x, width, statistics), statistics)

    def _distil(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean cross entropy over the teacher's projection of the same image and the queue."""
        with torch.autocast(student.device.type, enabled=False):
            queue = self.queue.to(student.dtype)
            similar = [torch.cat([(s * teacher).sum(1, keepdim=True), s @ queue.T], 1) for s in (student, teacher)]
            goal = (similar[1] / self.settings.teacher_temperature).softmax(dim=1)
            return -(goal * (similar[0] / self.settings.temperature).log_softmax(dim=1)).sum(dim=1).mean()

    @torch.no_grad()
    def finish_step(self, targets: Tensor) -> None:
        """The oldest projections make room for those of all processes; after the gradients, which need the old ones."""
        if self.predictor is not None:
            return
        fresh = all_gather(targets)[-len(self.queue) :].to(self.queue.dtype)
        places = (self.position + torch.arange(len(fresh), device=fresh.device)) % len(self.queue)
        self.queue[places] = fresh
        self.position.copy_((self.position + len(fresh)) % len(self.queue))
