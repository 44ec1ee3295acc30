"""Accuracies in percent."""

import torch
from torch import Tensor


def accuracies(scores: Tensor, labels: Tensor) -> dict[str, float | None]:
    """top1, top5 (None for fewer than six classes) and class_mean, the mean of the classes' own accuracies.

    scores: [N, K]; labels: int64 [N]. Classes without a test image don't count in class_mean.
    """
    classes = scores.shape[1]
    correct = (scores.argmax(1) == labels).double()
    per_class = torch.zeros(classes, dtype=torch.float64, device=labels.device).scatter_add_(0, labels, correct)
    counts = labels.bincount(minlength=classes)
    present = counts > 0
    top5 = None
    if classes > 5:
        top5 = 100 * float((scores.topk(5, dim=1).indices == labels[:, None]).any(1).double().mean())
    return {
        "top1": 100 * float(correct.mean()),
        "top5": top5,
        "class_mean": 100 * float((per_class[present] / counts[present]).mean()),
    }
