"""SEED and SEED-MSE: distillation from a frozen pretrained teacher of the suite, one training per width.

Fang et al., "SEED: self-supervised distillation for visual representation" (ICLR 2021): one view, similarities to a
queue, no head on the student's projection. SEED-MSE (US3L, CVPR 2023, Table 2): two views, a head on the student,
negative cosine to the teacher's projection of the other view. The teacher is a full-width universal checkpoint with its
projector. Both are settings of ``distillation``, named and preset as the paper's table has them.
"""

from typing import Literal

from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.settings import Features, PositiveFloat, settings
from pretrain.data.facts import ImageFacts
from pretrain.objectives.distillation import Distillation, DistillationSettings
from pretrain.objectives.step import ObjectiveSettings
from pretrain.teachers.settings import TeacherSettings


@settings
class SeedSettings(ObjectiveSettings):
    """teacher: a universal checkpoint that was pretrained with ``training.keep_projector``.

    loss: ``queue`` (SEED) or ``mse``. hidden: features inside of the heads. queue: projections kept.
    temperature, teacher_temperature: of the two softmaxes.
    """

    name: Literal["seed"] = "seed"
    teacher: str | None = None
    loss: Literal["queue", "mse"] = "queue"
    hidden: Features = 2048
    queue: Features = 32768
    temperature: PositiveFloat = 0.5
    teacher_temperature: PositiveFloat = 1e-4

    def check(self) -> None:
        """UserError without a teacher."""
        if not self.teacher:
            raise UserError("objective.teacher is missing; expected a universal checkpoint, objective.teacher=FILE")

    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> Distillation:
        return self.distillation().build(backbone, chunks, width_max, images)

    def distillation(self) -> DistillationSettings:
        """The same, said in full."""
        of_views = self.loss == "mse"
        return DistillationSettings(
            teacher=TeacherSettings(name="universal", weights=self.teacher, output="projection"),
            loss="cosine" if of_views else "relational", centre=False, opposite=of_views, aux_head=of_views,
            hidden=self.hidden, queue=self.queue, temperature=self.temperature,
            teacher_temperature=self.teacher_temperature,
        )  # fmt: skip
