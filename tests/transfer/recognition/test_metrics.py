"""Accuracies against scikit-learn's."""

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from transfer.recognition.metrics import accuracies


def test_accuracies_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(8, (300,), generator=generator) * torch.randint(2, (300,), generator=generator)
    scores = torch.randn(300, 8, generator=generator) + torch.nn.functional.one_hot(labels, 8)
    found = accuracies(scores, labels)
    assert found["top1"] == pytest.approx(100 * accuracy_score(labels, scores.argmax(1)))
    assert found["top5"] == pytest.approx(100 * top_k_accuracy_score(labels, scores, k=5))
    assert found["class_mean"] == pytest.approx(100 * balanced_accuracy_score(labels, scores.argmax(1)))


def test_top5_of_five_classes_is_undefined_and_absent_classes_do_not_count():
    found = accuracies(torch.eye(5)[:2], torch.tensor([0, 1]))
    assert found == {"top1": 100.0, "top5": None, "class_mean": 100.0}


def test_mean_per_class_accuracy_by_hand():
    """Three of four right in the first class, none of one in the second: 3 of 5 images, but (75 + 0) / 2 per class."""
    answers, labels = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 0, 1])
    found = accuracies(torch.nn.functional.one_hot(answers, 2).float(), labels)
    assert (found["top1"], found["class_mean"]) == (60.0, 37.5)
