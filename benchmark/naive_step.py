"""A training step as one would write it down first: the yardstick for ``pretrain.trainer``.

Each view runs by itself; the momentum encoder is averaged parameter by parameter; after every width, largest first,
come a backward pass with the regulariser of what it used as a term of the loss, and an optimizer step. NCHW, fp32,
torch's SGD. This is what ``training.update = "per_width"`` computes (docs/method.md, section 2), so both must leave the
same weights.
"""

import torch
from torch import Tensor

from pretrain.config import PretrainConfig
from pretrain.objectives.losses import infonce, mse
from pretrain.objectives.us3l import US3L
from pretrain.optim import GroupRegularisation
from pretrain.slimmable.norms.statistics import BatchStatistics


class NaiveStep:
    """``step(views, widths)`` trains ``model`` as case 13 of Table 7: InfoNCE, MSE to distil, g, momentum targets.

    model: its parameters are trained in place. lr: at the configured batch.
    """

    def __init__(self, model: US3L, config: PretrainConfig, lr: float):
        self.model, self.settings, self.lr = model, config.objective, lr
        self.regularisation = GroupRegularisation(model, model.backbone, config.optimizer)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=lr, momentum=config.optimizer.momentum)

    def step(self, views: tuple[Tensor, Tensor], widths: list[float]) -> None:
        """views: normalised [B, 3, H, W] each. widths: the base network's first."""
        statistics = BatchStatistics()
        self._average()
        with torch.no_grad():
            targets = tuple(self.model.momentum_encoder(view, self.model.width_max, statistics) for view in views)
        for width in widths:
            z = tuple(self.model.projector(self.model.backbone(v, width, statistics), statistics) for v in views)
            if width is widths[0]:
                loss, waiting = infonce(z, targets, self.settings.temperature), {*self.model.aux_head.parameters()}
            else:
                loss, waiting = mse(tuple(self.model.aux_head(one, statistics) for one in z), targets), set()
            used = [(p, strength) for p, strength in self.regularisation.terms if p not in waiting]
            self.optimizer.zero_grad()
            (loss + sum((p.square() * strength).sum() / 2 for p, strength in used)).backward()
            self.optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        encoder, momentum = self.model.momentum_encoder, self.settings.momentum
        online = [*self.model.backbone.parameters(), *self.model.projector.parameters()]
        for average, parameter in zip(encoder.parameters(), online):
            average.copy_(average * momentum + parameter * (1 - momentum))
