"""A packed split is the folder it was made from, whoever reads it, and refuses what it was not."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain.common.errors import UserError
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images import packed
from pretrain.data.images.datasets import Subset, image_dataset
from pretrain.data.images.files import ImageFiles
from pretrain.data.images.identity import dataset_hash
from pretrain.data.images.packed import PackedImages, index_path, pack_path, write_pack
from pretrain.data.loader import CutViews, view_loader
from pretrain.data.order import IterationBatches


@pytest.fixture
def folder(tmp_path):
    """Images of several formats, modes and sizes in two classes, one name of other than ASCII."""
    root = tmp_path / "folder"
    kinds = [("a.jpg", "RGB"), ("b.jpg", "L"), ("c.jpg", "CMYK"), ("d.png", "P"), ("e.png", "RGBA"), ("ß/f.bmp", "RGB")]
    for label, name in enumerate(("cat", "ant")):
        for i, (file, mode) in enumerate(kinds):
            path = root / "train" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20 + i, 30 - i), (100 * label, 30 * i, 9)).convert(mode).save(path)
    return root


@pytest.fixture
def pack(folder, tmp_path):
    write_pack(image_dataset("folder", folder), tmp_path / "pack", "train")
    return tmp_path / "pack"


def assert_equal_items(one, other):
    assert len(one) == len(other) and one.classes == other.classes and torch.equal(one.labels, other.labels)
    for (a, label), (b, same) in zip((one[i] for i in range(len(one))), (other[i] for i in range(len(other)))):
        assert torch.equal(a, b) and label == same


@pytest.mark.parametrize("name", ["folder", "imagenet", "cifar10"])
def test_items_are_those_of_the_folder(folder, pack, name):
    found = image_dataset(name, pack)
    assert isinstance(found, PackedImages)
    assert_equal_items(found, image_dataset("folder", folder))
    assert sorted(p.name for p in pack.iterdir()) == ["train.index.npz", "train.pack"]


def test_the_first_images_of_each_class_can_be_taken(folder, pack):
    few = image_dataset("folder", pack, images_per_class=2)
    assert isinstance(few, Subset)
    assert_equal_items(few, image_dataset("folder", folder, images_per_class=2))
    assert few.open(3).size == image_dataset("folder", folder, images_per_class=2).open(3).size


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_workers_read_it_after_their_parent_has(folder, pack, workers):
    def loaded(root):
        source = image_dataset("folder", root)
        source[0]
        views = CutViews(source, [Augmentation(), Augmentation()], 16, seed=0)
        return list(view_loader(views, IterationBatches(12, 4, 0, 0, 3), workers))

    for ours, plain in zip(loaded(pack), loaded(folder), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_a_pickle_holds_no_pixels(pack):
    source = image_dataset("folder", pack)
    source[0]
    text = pickle.dumps(source)
    assert pack_path(pack, "train").read_bytes()[20:200] not in text
    assert torch.equal(pickle.loads(text)[3][0], source[3][0])


def test_a_damaged_image_is_named_as_its_file_was(folder, tmp_path):
    path = folder / "train" / "ant" / "d.png"
    path.write_bytes(path.read_bytes()[:40])
    write_pack(image_dataset("folder", folder), tmp_path / "pack", "train")
    with pytest.raises(UserError, match=r"cannot read the image ant/d.png in .*train.pack: "):
        image_dataset("folder", tmp_path / "pack")[3]


def resave(index, **changes):
    with np.load(index) as arrays:
        np.savez(index, **{**arrays, **changes})


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def foreign_header(path):
    resave(path, header=np.frombuffer(json.dumps({"version": 2, "classes": []}).encode(), np.uint8))


@pytest.mark.parametrize(
    ("which", "spoil", "message"),
    [
        (pack_path, cut, "has .* bytes where its index says .*: cut short or replaced"),
        (pack_path, lambda path: path.write_bytes(b"x" * path.stat().st_size), "holds no packed images"),
        (pack_path, os.unlink, "cannot read .*: No such file"),
        (index_path, cut, "is no index of packed images"),
        (index_path, lambda path: path.write_text("hello"), "is no index of packed images"),
        (index_path, one_array, "is no index of packed images"),
        (index_path, lambda path: np.savez(path, a=np.zeros(3)), "is no index of packed images"),
        (index_path, os.unlink, "is no index of packed images .*No such file"),
        (index_path, foreign_header, "has another format than version 1"),
    ],
)
def test_spoilt_files_are_refused_by_one_line(pack, which, spoil, message):
    spoil(which(pack, "train"))
    with pytest.raises(UserError, match=message) as caught:
        image_dataset("folder", pack)
    assert "\n" not in str(caught.value)


def test_nothing_appears_before_it_is_whole(folder, tmp_path, monkeypatch):
    """An error on the way leaves no file of that name behind, and a new start succeeds."""
    source, root, whole = image_dataset("folder", folder), tmp_path / "pack", ImageFiles.encoded

    def encoded(self, index):
        if index == len(self) - 1:
            raise OSError("gone")
        return whole(self, index)

    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"cannot read the image .*: gone"):
        patch.setattr(ImageFiles, "encoded", encoded)
        write_pack(source, root, "train")
    assert not list(root.iterdir())
    write_pack(source, root, "train")
    assert_equal_items(image_dataset("folder", root), source)


def test_what_is_packed_already_is_known_by_its_facts_or_else_by_its_bytes(folder, pack):
    source, path = image_dataset("folder", folder), folder / "train" / "ant" / "a.jpg"
    assert packed.holds(pack, "train", source) and not packed.holds(pack, "test", source)
    os.utime(path, (1, 1))
    assert packed.holds(pack, "train", source), "copied, perhaps"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert not packed.holds(pack, "train", source), "of the same name, label and size"


def test_features_that_were_cached_for_it_are_known_again(folder, pack):
    first, again = (dataset_hash(image_dataset("folder", pack)) for _ in range(2))
    assert first == again != dataset_hash(image_dataset("folder", folder))
    os.utime(pack_path(pack, "train"), (1, 1))
    assert dataset_hash(image_dataset("folder", pack)) != first
