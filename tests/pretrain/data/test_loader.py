"""Which samples an iteration sees: a function of (seed, iteration), dealt out to processes without overlap."""

import pytest
import torch

from pretrain.data.datasets import image_dataset
from pretrain.data.loader import CalibrationBatches, IterationBatches, ViewPairs, view_loader
from pretrain.data.views import Views
from pretrain.errors import UserError


def keys(start=0, stop=12, rank=0, size=1, samples=20, seed=0):
    return list(IterationBatches(samples, 6, seed, start, stop, rank, size))


def test_an_epoch_shows_each_sample_at_most_once_in_a_new_order():
    first, second = keys()[:3], keys()[3:6]
    for epoch, batches in ((0, first), (1, second)):
        seen = [key for batch in batches for key in batch]
        assert {e for e, _ in seen} == {epoch}
        assert len(set(seen)) == 18
    assert [[i for _, i in b] for b in first] != [[i for _, i in b] for b in second]


def test_a_stream_that_starts_late_continues_the_same():
    assert keys(start=5) == keys()[5:]


def test_processes_share_a_batch_in_order():
    whole = keys()
    parts = [keys(rank=r, size=3) for r in range(3)]
    assert [[*a, *b, *c] for a, b, c in zip(*parts, strict=True)] == whole


def test_seeds_differ():
    assert keys(seed=1) != keys(seed=0)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="a batch of 6 images from a data set of 5"):
        keys(samples=5)


def test_views_do_not_depend_on_the_workers():
    pairs = ViewPairs(image_dataset("digits", images_per_class=2), Views(), 32, seed=3)
    alone, helped = (list(view_loader(pairs, IterationBatches(20, 6, 0, 0, 5), workers)) for workers in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert alone[0].shape == (6, 2, 3, 32, 32) and alone[0].dtype == torch.uint8
    assert not torch.equal(alone[0][:, 0], alone[0][:, 1])


def test_calibration_batches_repeat_exactly_and_are_dealt_out_to_processes():
    source = image_dataset("digits", images_per_class=3)

    def batches(rank=0, size=1):
        return CalibrationBatches(source, Views(), 32, 8, 3, 0, [0.5] * 3, [0.5] * 3, rank, size)

    whole = list(batches())
    assert len(batches()) == 3 and whole[0].shape == (8, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(whole, batches(), strict=True))
    dealt = [list(batches(r, 2)) for r in (0, 1)]
    assert [len(d) for d in dealt] == [2, 1]
    assert torch.equal(dealt[1][0], whole[1]) and torch.equal(dealt[0][1], whole[2])
    assert all(len(list(batches(r, 5))) == 3 for r in range(5))
