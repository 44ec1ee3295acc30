"""Which samples an iteration sees: a function of (seed, iteration), dealt out to processes without overlap."""

import pytest

from pretrain.common.errors import UserError
from pretrain.data.order import IterationBatches


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
