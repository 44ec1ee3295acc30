"""Few labels: a share of each class, drawn by the seed alone."""

import pytest
import torch

from pretrain import UserError
from pretrain.data.images.datasets import TensorImages
from pretrain.data.images.identity import dataset_hash
from transfer.recognition.images import Images
from transfer.recognition.labels import labelled, share


@pytest.fixture
def images() -> Images:
    """100, 30 and 3 images of three classes in a mixed order; each image's pixels are its number."""
    labels = torch.tensor([0] * 100 + [1] * 30 + [2] * 3)[
        torch.randperm(133, generator=torch.Generator().manual_seed(0))
    ]
    pixels = torch.arange(133).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Images(TensorImages(pixels, labels, ["a", "b", "c"]))


def numbers(images: Images) -> list[int]:
    return [int(images[i][0][0, 0, 0]) for i in range(len(images))]


def test_a_share_of_each_class_is_taken_and_at_least_one(images):
    few = labelled(images, 0.1, seed=0)
    assert few.labels.bincount().tolist() == [10, 3, 1] and few.classes == images.classes
    assert all(images[number][1] == int(label) for number, label in zip(numbers(few), few.labels, strict=True))


def test_it_is_a_function_of_the_seed(images):
    few = numbers(labelled(images, 0.1, 0))
    torch.manual_seed(5)
    assert numbers(labelled(images, 0.1, 0)) == few == sorted(few)
    assert numbers(labelled(images, 0.1, 1)) != few
    assert set(few) < set(numbers(labelled(images, 0.5, 0))) < set(numbers(labelled(images, 1.0, 0)))
    assert numbers(labelled(images, 1.0, 0)) == list(range(133))


def test_features_of_other_labels_are_others(images):
    found = {dataset_hash(labelled(images, part, seed).dataset) for part, seed in ((0.1, 0), (0.1, 1), (0.5, 0))}
    assert len(found | {dataset_hash(images.dataset)}) == 4
    assert dataset_hash(labelled(images, 0.1, 0).dataset) in found


def test_shares_are_percentages_or_numbers():
    assert [share(text) for text in ("1%", "10 %", "100%", "0.25", "1", "2.5%")] == [0.01, 0.1, 1.0, 0.25, 1.0, 0.025]
    for text in ("0", "0%", "101%", "10", "ten", "-1%", "", "nan"):
        with pytest.raises(UserError, match=f"'{text}' is no share of the labels; expected e.g. 1% 10% 100%, or 0.1"):
            share(text)
