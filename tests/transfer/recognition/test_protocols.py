"""What a protocol hands to its head."""

import pytest
import torch

from transfer.recognition import protocols
from transfer.recognition.settings import Settings


@pytest.mark.parametrize("augmented", [0, 2])
def test_the_probe_learns_from_every_view_and_is_judged_on_the_plain_one(monkeypatch, augmented):
    seen = []
    train_probe = protocols.train_probe

    def recorded(views, plain, *rest):
        seen.append((views, plain))
        return train_probe(views, plain, *rest)

    monkeypatch.setattr(protocols, "train_probe", recorded)
    train = [torch.randn(20, 3) for _ in range(1 + augmented)]
    plain, labels = train[0], torch.arange(20) % 2
    kind, scores, details = protocols.probe_outcome(train, labels, plain, 2, Settings(epochs=1))
    ((used, judged_on),) = seen
    assert judged_on is plain and {id(view) for view in used} == {id(view) for view in train}
    assert (kind, scores.shape, details["views"]) == ("linear", (20, 2), augmented)
