"""Files of eight-bit integers: what they are calibrated on, and whether they may take the place of float32.

Static quantisation after training (Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018): scales of weights by channel, those of activations from images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pretrain.common.errors import UserError
from transfer.validation import BATCH, Run, Validation, features_by_torch

IMAGES = 256  # of the bank, that scales are estimated on
ALIKE = 0.999  # cosine of an image's features alone and among others
SUFFIX = "_int8"


@dataclass(frozen=True)
class Int8:
    """validation: its bank calibrates, its queries judge. max_loss: points that may be lost, None for any.

    say: is told the judgement in a line. found: the judgement, once there is one.
    """

    validation: Validation
    max_loss: float | None = 1.0
    say: Callable[[str], None] = print
    found: dict = field(default_factory=dict)

    def batches(self, batch: int = BATCH) -> Iterator[np.ndarray]:
        """The calibration's images, float32 [``batch`` or fewer, C, S, S]."""
        return self.validation.batches(self.validation.bank[:IMAGES], batch)

    def judged(self, plain: nn.Module, run: Run, runtime: str) -> dict:
        """What the file ``run`` lost beside ``plain``: data, images, cosine, top1_before and top1_after, in percent.

        The cosine is the mean over the queries. Without labels the loss is 100 (1 - cosine) points and both
        accuracies are None.
        Errors: UserError for more than ``max_loss``; RuntimeError if an image's features depend on others'.
        """
        seen = self.validation
        _check_alone(run, next(seen.batches(seen.queries)), runtime)
        before, after = features_by_torch(plain, seen), seen.features(run)
        cosine = F.cosine_similarity(before[1], after[1], dim=1).mean().item()
        accuracies = [seen.top1(*features) for features in (before, after)]
        lost = 100 * (1 - cosine) if not seen.classes else accuracies[0] - accuracies[1]
        told = f"kNN {accuracies[0]:.2f} -> {accuracies[1]:.2f} %" if seen.classes else "no labels for kNN"
        line = f"int8 by {runtime}: cosine {cosine:.4f}, {told} on {len(seen.queries)} images of {seen.name}"
        if self.max_loss is not None and not lost <= self.max_loss:
            raise UserError(
                f"{line}: {lost:.2f} points lost; expected --max-loss {self.max_loss:g} or less: a wider network, "
                "another format, or a larger --max-loss"
            )
        self.say(line)
        self.found.update(
            data=seen.name, calibration_images=min(IMAGES, len(seen.bank)), validation_images=len(seen.queries),
            cosine=cosine, top1_before=accuracies[0], top1_after=accuracies[1],
        )  # fmt: skip
        return self.found


def _check_alone(run: Run, images: np.ndarray, runtime: str) -> None:
    """RuntimeError unless the features of two images in a batch are those of each alone."""
    together = torch.from_numpy(run(images[:2]))
    alone = torch.cat([torch.from_numpy(run(images[i : i + 1])) for i in range(len(together))])
    if together.shape != alone.shape or not (F.cosine_similarity(together, alone, dim=1) > ALIKE).all():
        raise RuntimeError(f"{runtime}'s features of an image depend on its batch; nothing was written")
