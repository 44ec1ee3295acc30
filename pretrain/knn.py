"""Weighted nearest-neighbour classification of frozen features.

Wu et al., "Unsupervised feature learning via non-parametric instance discrimination" (CVPR 2018), section 3.4:
cosine similarity s, each of the k nearest training images votes for its class with weight exp(s / 0.07).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 10_000  # training images from which on k is 200, as in the paper; few images would all be neighbours


def neighbours(train_images: int) -> int:
    """The default k: 200 for large sets, 20 for others, never more than there are images."""
    return min(200 if train_images >= LARGE else 20, train_images)


def knn_scores(
    train: Tensor, labels: Tensor, test: Tensor, classes: int, k: int, temperature: float = 0.07, chunk: int = 1024
) -> Tensor:
    """Sum of votes, [N_test, classes]. train: [N, D]; labels: int64 [N]; test: [N_test, D].

    The votes on an image count in those of its nearest neighbour, exp((s - s_max) / temperature), which changes no
    order: exp(1 / temperature) itself overflows float32 below a temperature of 0.0113.
    """
    bank = F.normalize(train.float(), dim=1).T
    scores = []
    for part in F.normalize(test.float(), dim=1).split(chunk):
        similarity, index = (part @ bank).topk(k, dim=1)
        weights = ((similarity - similarity[:, :1]) / temperature).exp()  # the first is the nearest
        scores.append(part.new_zeros(len(part), classes).scatter_add_(1, labels[index], weights))
    return torch.cat(scores)
