"""Weighted kNN against scikit-learn's, with the vote of Wu et al. as its weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pretrain.data.images.digits import digits
from pretrain.knn import knn_scores, neighbours


def test_the_votes_are_those_of_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    (train, labels), (test, _) = digits("train", 8), digits("test", 8)
    train, test = (images[:, 0].flatten(1).double() for images in (train, test))
    reference = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    reference.fit(train, labels)
    votes = knn_scores(train, labels, test, 10, k=20, chunk=100)
    probabilities = votes / votes.sum(1, keepdim=True)
    expected = torch.from_numpy(reference.predict_proba(test)).float()
    different = (probabilities - expected).abs().amax(1) > 1e-3
    assert different.float().mean() < 0.01, "but for equal distances at the k-th place"
    assert (votes.argmax(1) == torch.from_numpy(reference.predict(test))).float().mean() > 0.995


def test_length_does_not_matter_and_near_images_weigh_more():
    train = torch.tensor([[10.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 2.0]])
    votes = knn_scores(train, torch.tensor([0, 1, 1, 1]), torch.tensor([[0.1, 0.001]]), 2, k=4)
    assert votes.argmax() == 0, "one near image outvotes three far ones"


@pytest.mark.parametrize("temperature", [0.07, 0.011, 1e-3, 1e-6])
def test_a_low_temperature_votes_as_in_float64(temperature):
    """exp(1 / 0.011) is beyond float32: the votes are those of exact arithmetic, to a factor of an image's own."""
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 8, generator=generator) for n in (200, 50))
    labels = torch.randint(5, (200,), generator=generator)
    votes = knn_scores(train, labels, test, 5, k=20, temperature=temperature)
    cosine = F.normalize(test.double(), dim=1) @ F.normalize(train.double(), dim=1).T
    nearest, index = cosine.topk(20, dim=1)
    log = nearest.new_full((50, 5, 20), -torch.inf).scatter_(1, labels[index][:, None], nearest[:, None] / temperature)
    expected = log.logsumexp(2).softmax(1)
    assert torch.isfinite(votes).all() and torch.equal(votes.argmax(1), expected.argmax(1))
    if temperature > 1e-4:  # below, rounding of the similarity itself decides a share
        torch.testing.assert_close(votes / votes.sum(1, keepdim=True), expected.float(), atol=2e-3, rtol=0)


def test_k_follows_the_size_of_the_set():
    assert [neighbours(n) for n in (7, 1437, 10_000, 50_000)] == [7, 20, 200, 200]
