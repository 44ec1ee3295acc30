"""Tested images that were trained on are found by their content, whatever they are called."""

import shutil

import pytest
import torch

from benchmark.evidence.overlap import pretraining_images, shared, warnings
from pretrain.data.images.datasets import TensorImages, image_dataset
from pretrain.train import pretrain
from pretrain.universal import load_universal
from tests.pretrain.helpers import tiny_config, universal


@pytest.fixture
def splits(image_folder):
    def load():
        return [image_dataset("folder", image_folder, split, 16) for split in ("train", "test")]

    return load


def test_a_renamed_copy_is_counted(image_folder, splits):
    assert shared(*splits()) == 0
    for i, path in enumerate(sorted(image_folder.glob("train/dark/*"))[:3]):
        shutil.copy(path, image_folder / "val" / "light" / f"other_{i}{path.suffix}")
    assert shared(*splits()) == 3


def test_images_in_memory_are_compared_by_their_pixels():
    images = torch.arange(60, dtype=torch.uint8).view(5, 3, 2, 2)
    train, test = (
        TensorImages(part, torch.zeros(len(part), dtype=torch.long), ["a"]) for part in (images[:4], images[3:])
    )
    assert shared(train, test) == 1


def test_both_kinds_of_training_images_are_looked_at(image_folder, splits, tmp_path):
    net, (train, test) = universal(base_channels=8), splits()
    assert warnings(net, tmp_path, train, test) == [], "the embedded digits are where they always are"
    shutil.copy(next(image_folder.glob("train/dark/*")), image_folder / "val" / "dark" / "again.png")
    train, test = splits()
    assert warnings(net, tmp_path, train, test) == [
        "warning: 1 of 17 test images are among the target's training images: the figures flatter"
    ]
    net.metadata["data"]["name"] = "folder"
    assert "not looked at: pretraining's images are not where the run says" in warnings(net, tmp_path, train, test)[1]


def test_the_run_says_where_its_images_are(image_folder, tmp_path):
    data = {"name": "folder", "root": str(image_folder), "image_size": 16, "images_per_class": 8}
    net = load_universal(pretrain(tiny_config(data=data, training={"iterations": 1}), tmp_path / "run", False, "cpu"))
    images = pretraining_images(net, tmp_path / "run")
    assert len(images) == 16 and shared(images, images) == 16
    assert pretraining_images(net, tmp_path) is None
