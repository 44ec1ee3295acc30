"""What a protocol hands to its head."""

import pytest
import torch

from transfer.recognition import protocols
from transfer.recognition.settings import RecognitionSettings


@pytest.mark.parametrize("augmented", [0, 2])
def test_the_probe_learns_from_every_view_and_is_judged_on_the_tested_one(monkeypatch, augmented):
    seen = []
    train_probe = protocols.train_probe

    def recorded(views, tested, *rest):
        seen.append((views, tested))
        return train_probe(views, tested, *rest)

    monkeypatch.setattr(protocols, "train_probe", recorded)
    train = [torch.randn(20, 3) for _ in range(1 + augmented)]
    tested, labels = train[0], torch.arange(20) % 2
    kind, scores, details = protocols.probe_outcome(train, labels, tested, 2, RecognitionSettings(epochs=1))
    ((used, judged_on),) = seen
    assert judged_on is tested and {id(view) for view in used} == {id(view) for view in train}
    assert (kind, scores.shape, details["views"]) == ("linear", (20, 2), augmented)


@pytest.mark.parametrize("settings", [RecognitionSettings(), RecognitionSettings(temperature=0.5, neighbours=3)])
def test_neighbours_vote_by_their_similarity_at_the_settings_temperature(settings):
    """exp(cosine / temperature) of each of the k nearest, written out; 0.07 and 20 of few images by default."""
    train, test = torch.randn(30, 5).double(), torch.randn(7, 5).double()
    labels = torch.arange(30) % 3
    kind, scores, details = protocols.knn_outcome([train], labels, test, 3, settings)
    k, temperature = (20, 0.07) if settings == RecognitionSettings() else (3, 0.5)
    cosine = torch.nn.functional.cosine_similarity(test[:, None], train[None], dim=2)
    for row, votes in zip(cosine, scores.double(), strict=True):
        nearest = row.argsort(descending=True)[:k]
        expected = torch.stack([(row[nearest][labels[nearest] == c] / temperature).exp().sum() for c in range(3)])
        torch.testing.assert_close(votes / votes.sum(), expected / expected.sum(), rtol=1e-4, atol=1e-6)
    assert (kind, details) == ("knn", {"neighbours": k})
