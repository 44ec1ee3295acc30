"""Which samples an iteration sees: a function of (seed, iteration), dealt out to processes without overlap."""

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.data.datasets import TensorImages, image_dataset
from pretrain.data.loader import AugmentedViews, CalibrationBatches, IterationBatches, finished_views, view_loader
from pretrain.data.memory import in_memory
from pretrain.data.views import Views


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


BOTH = (Views(), Views())


def loaded(source, workers=0, views=BOTH):
    return list(view_loader(AugmentedViews(source, list(views), 32, seed=3), IterationBatches(20, 6, 0, 0, 5), workers))


def test_views_do_not_depend_on_the_workers():
    source = image_dataset("digits", images_per_class=2)
    alone, helped = (loaded(source, workers) for workers in (0, 2))
    assert all(torch.equal(a, b) for one, other in zip(alone, helped, strict=True) for a, b in zip(one, other))
    assert alone[0].images.shape == (6, 2, 3, 32, 32) and alone[0].images.dtype == torch.uint8
    assert not torch.equal(alone[0].images[:, 0], alone[0].images[:, 1])


def test_a_sample_brings_its_label_and_the_key_of_its_randomness():
    source = image_dataset("digits", images_per_class=2)
    for step, batch in enumerate(loaded(source)):
        assert batch.keys[:, 0].tolist() == [step // 3] * 6
        assert batch.labels.tolist() == source.labels[batch.keys[:, 1]].tolist()


def test_images_in_memory_and_one_by_one_give_the_same_views():
    """At most a rounding apart: a batch is resized by matrices, single images by torchvision's uint8 kernels."""
    source = image_dataset("digits", images_per_class=2)
    one_by_one, together = loaded(source), loaded(in_memory(source))
    assert not isinstance(source, TensorImages) and isinstance(in_memory(source), TensorImages)
    for a, b in zip(one_by_one, together, strict=True):
        assert torch.equal(a.keys, b.keys)
        assert (a.images.int() - b.images.int()).abs().max() <= 1


def test_only_small_images_of_one_size_are_kept_in_memory():
    class Sizes(list):
        classes, labels = ["a"], torch.zeros(2)

    large, small = torch.zeros(3, 200, 200, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8)
    for images in ([large, large], [small, small[:, :4]]):
        source = Sizes((image, 0) for image in images)
        assert in_memory(source) is source
    kept = in_memory(Sizes([(small, 0), (small + 1, 0)]))
    assert torch.equal(kept[1][0], small + 1)


def test_colours_are_a_function_of_the_key_and_differ_between_views():
    views = [Views(), Views(jitter_p=0.0, grayscale=0.0)]
    (batch, *_) = loaded(image_dataset("digits", images_per_class=2), views=views)
    as_they_are = (3, [0.0] * 3, [1.0] * 3)
    first, second = finished_views(batch, views, *as_they_are)
    assert first.shape == (6, 3, 32, 32) and first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(second, batch.images[:, 1] / 255)
    assert not torch.equal(first, batch.images[:, 0] / 255)
    assert torch.equal(first, finished_views(batch, views, *as_they_are)[0])
    assert not torch.equal(first, finished_views(batch, views, 4, [0.0] * 3, [1.0] * 3)[0])


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
