"""Views from a loader: functions of seed, epoch and index alone, whoever makes them."""

import torch

from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images.datasets import TensorImages, image_dataset
from pretrain.data.images.memory import in_memory
from pretrain.data.loader import CutViews, coloured_views, view_loader
from pretrain.data.order import IterationBatches

BOTH = (Augmentation(), Augmentation())


def loaded(source, workers=0, views=BOTH):
    return list(view_loader(CutViews(source, list(views), 32, seed=3), IterationBatches(20, 6, 0, 0, 5), workers))


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
    views = [Augmentation(), Augmentation(jitter_p=0.0, grayscale=0.0)]
    (batch, *_) = loaded(image_dataset("digits", images_per_class=2), views=views)
    as_they_are = (3, [0.0] * 3, [1.0] * 3)
    first, second = coloured_views(batch, views, *as_they_are)
    assert first.shape == (6, 3, 32, 32) and first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(second, batch.images[:, 1] / 255)
    assert not torch.equal(first, batch.images[:, 0] / 255)
    assert torch.equal(first, coloured_views(batch, views, *as_they_are)[0])
    assert not torch.equal(first, coloured_views(batch, views, 4, [0.0] * 3, [1.0] * 3)[0])
