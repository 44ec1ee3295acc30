"""Data sets by name: their layouts, their order, and clear refusals."""

import pickle

import pytest
import torch
from PIL import Image

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.index import PackedNames


def write_folder(root, split="train", sizes=(8, 8)):
    for number, name in enumerate(("cat", "ant")):
        (root / split / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", sizes, (100 * number, 10 * i, 0)).save(root / split / name / f"{i}.png")


def test_digits_are_split_without_overlap():
    train, test = image_dataset("digits"), image_dataset("digits", split="test", image_size=16)
    assert len(train) + len(test) == 1797 and len(test) == 360
    image, label = train[0]
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8 and label in range(10)
    assert test[0][0].shape == (3, 16, 16)
    assert torch.bincount(test.labels).min() > 20


def test_a_folder_is_read_in_sorted_order(tmp_path):
    write_folder(tmp_path)
    data = image_dataset("folder", tmp_path)
    assert data.classes == ["ant", "cat"]
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data[1][0][:, 0, 0].tolist() == [100, 10, 0]


def test_test_images_may_lie_in_val(tmp_path):
    write_folder(tmp_path, "val")
    assert len(image_dataset("folder", tmp_path, split="test")) == 6


def test_images_per_class_takes_the_first_of_each(tmp_path):
    write_folder(tmp_path)
    data = image_dataset("folder", tmp_path, images_per_class=2)
    assert [data[i][1] for i in range(len(data))] == [0, 0, 1, 1] == data.labels.tolist()
    assert data[3][0][:, 0, 0].tolist() == [0, 10, 0]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_images_of_other_modes_become_rgb(tmp_path, mode):
    (tmp_path / "train" / "a").mkdir(parents=True)
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (8, 8), (9, 9, 9)).convert(mode).save(tmp_path / "train" / "a" / f"x.{suffix}")
    assert image_dataset("folder", tmp_path)[0][0].shape == (3, 8, 8)


def test_cifar_in_torchvisions_layout(tmp_path, monkeypatch):
    """torchvision checks sums of the real files; the reading is what is tested here."""
    import torchvision

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, _ in torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list:
        batch = {"data": torch.arange(2 * 3072).remainder(256).to(torch.uint8).view(2, 3072).numpy(), "labels": [3, 1]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = image_dataset("cifar10", tmp_path)
    assert len(data) == 10 and data[1][1] == 1
    assert data[0][0].flatten()[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [("cifar1O", "did you mean 'cifar10'"), ("folder", "needs its folder; expected data.root=FOLDER")],
)
def test_bad_names_and_missing_roots_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        image_dataset(name)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        image_dataset("folder", tmp_path / "none")
    with pytest.raises(UserError, match="no 'train' folder in"):
        image_dataset("folder", tmp_path)
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="no images below"):
        image_dataset("folder", tmp_path)
    with pytest.raises(UserError, match="no CIFAR100 in"):
        image_dataset("cifar100", tmp_path / "train")


def test_file_names_are_packed_into_one_array(tmp_path):
    write_folder(tmp_path)
    data = image_dataset("folder", tmp_path)
    assert [data.names[i] for i in range(6)] == [f"{c}/{i}.png" for c in ("ant", "cat") for i in range(3)]
    assert data.names[-1] == "cat/2.png" and data.names.bytes.nbytes == 6 * len("ant/0.png")
    with pytest.raises(IndexError):
        data.names[6]
    odd = ["é/ß.png", "", "a b.jpg", b"\xff.png".decode("utf-8", "surrogateescape")]
    assert list(PackedNames(odd)) == odd


def test_a_damaged_image_is_named(tmp_path):
    write_folder(tmp_path)
    bad = tmp_path / "train" / "ant" / "0.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(UserError, match=r"cannot read the image .*ant/0.png"):
        image_dataset("folder", tmp_path)[0]
