"""Supervised training with labels: one width, slimmable networks (S-Net), and S-Net with in-place distillation.

Yu et al., "Slimmable neural networks" (ICLR 2019): all widths minimise the cross entropy of the labels, each with batch
norms of its own (``backbone.private_norms``). Yu and Huang, "Universally slimmable networks" (ICCV 2019), section 3.3:
with distillation only the largest does; the others minimise the cross entropy of its prediction, detached. The rows of
Table 1 of US3L (CVPR 2023).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.settings import settings
from pretrain.data.facts import ImageFacts
from pretrain.objectives.losses import at_least_fp32
from pretrain.objectives.step import Batch, Objective, ObjectiveSettings, Step, Term
from pretrain.slimmable.norms.statistics import BatchStatistics
from pretrain.slimmable.ops import SlimLinear
from pretrain.slimmable.widths import WIDTH_MAX


@settings
class SupervisedSettings(ObjectiveSettings):
    """distill: narrower widths learn from the largest one's prediction instead of the labels."""

    name: Literal["supervised"] = "supervised"
    distill: bool = False

    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> "Supervised":
        return Supervised(backbone, self, images.classes, chunks)


class Supervised(Objective):
    """A backbone and a linear classifier whose inputs shrink with it. Targets are the largest one's logits.

    classes: of the data set. chunks: parts of this process's batch that batch norms see.
    """

    num_views = 1

    def __init__(self, backbone: nn.Module, settings: SupervisedSettings, classes: int, chunks: int = 1):
        super().__init__()
        if classes < 2:
            raise UserError(f"supervised training needs at least 2 classes, the data set has {classes}")
        self.settings, self.chunks = settings, chunks
        self.backbone = backbone
        self.projector = None
        self.classifier = SlimLinear(backbone.num_features(WIDTH_MAX), classes)

    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        (x,) = batch.views
        statistics, terms = BatchStatistics(self.chunks), []
        if targets is None:
            logits = self._logits(x, widths[0], statistics)
            terms.append(Term("base", widths[0], cross_entropy(logits, batch.labels)))
            targets, widths = logits.detach(), widths[1:]
        for width in widths:
            goal = at_least_fp32(targets).softmax(dim=1) if self.settings.distill else batch.labels
            terms.append(Term("distill", width, cross_entropy(self._logits(x, width, statistics), goal)))
        return Step(terms, targets)

    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        return self.backbone.unused(widths)

    def embed(self, x: Tensor, width: float) -> Tensor:
        return self.backbone(x, width, BatchStatistics())

    def _logits(self, x: Tensor, width: float, statistics: BatchStatistics) -> Tensor:
        return self.classifier(self.backbone(x, width, statistics))


def cross_entropy(logits: Tensor, goal: Tensor) -> Tensor:
    """Mean cross entropy of logits [B, K] with labels [B] or with probabilities [B, K], in fp32 at least."""
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(at_least_fp32(logits), goal)
