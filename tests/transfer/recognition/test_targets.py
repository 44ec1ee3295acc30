"""The data sets in torchvision's layouts, made of a few real photographs (or coloured noise) each."""

import hashlib
import pickle
import shutil
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from pretrain.common.errors import UserError
from transfer.recognition.targets import download, find_root, load_splits
from transfer.targets import TARGETS, headline, targets_of


@pytest.fixture
def photographs():
    """pixels(n): the n-th image, of its own size and colour."""

    def make(number: int) -> Image.Image:
        generator = np.random.default_rng(number)
        shape = (24 + number % 3, 30, 3)
        return Image.fromarray((generator.random(shape) * 60 + number * 9 % 190).astype(np.uint8))

    return make


def set_of(target: str):
    """What says where a target's images lie."""
    return TARGETS[target].reader.SET


def md5(path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def flowers(tmp_path, photographs, monkeypatch):
    """12 images of 3 classes: ids 1-3 train, 4-6 val, 7-12 test; labels from 1."""
    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for i in range(1, 13):
        photographs(i).save(folder / "jpg" / f"image_{i:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": [[1 + i % 3 for i in range(12)]]})
    savemat(folder / "setid.mat", {"trnid": [[1, 2, 3]], "valid": [[4, 5, 6]], "tstid": [list(range(7, 13))]})

    files = {"image": "102flowers.tgz", "label": "imagelabels.mat", "setid": "setid.mat"}
    sums = {name: (file, "0" if name == "image" else md5(folder / file)) for name, file in files.items()}
    kind = type("Flowers102", (torchvision.datasets.Flowers102,), {"_file_dict": sums})
    monkeypatch.setattr(TARGETS["flowers"].reader, "SET", replace(set_of("flowers"), kind=kind))
    return folder


@pytest.fixture
def pets(tmp_path, photographs):
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for split, numbers in (("trainval", (1, 2, 3)), ("test", (4, 5))):
        lines = []
        for i in numbers:
            for label, breed in enumerate(("Abyssinian", "basset_hound"), 1):
                lines.append(f"{breed}_{i} {label} {label} 1")
                photographs(i + 10 * label).save(folder / "images" / f"{breed}_{i}.jpg")
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def dtd(tmp_path, photographs):
    folder = tmp_path / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for split, numbers in (("train", (1,)), ("val", (2,)), ("test", (3, 4, 5))):
        names = [f"{texture}/{texture}_{i:04d}.jpg" for texture in ("banded", "dotted") for i in numbers]
        for number, name in enumerate(names):
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            photographs(number).save(folder / "images" / name)
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(names) + "\n")
        (folder / "labels" / f"{split}2.txt").write_text("banded/of_another_split.jpg\n")
    return folder


def cifar(root, kind, label_key, monkeypatch, target):
    """Two images in each of torchvision's files, with their own checksums."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    lists = {"train_list": [], "test_list": []}
    for number, (which, name) in enumerate((w, n) for w in lists for n, _ in getattr(kind, w)):
        pixels = np.full((2, 3072), number, dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, label_key: [number % 10, 1]}))
        lists[which].append([name, md5(folder / name)])
    meta = kind.meta
    (folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: [f"class {i}" for i in range(10)]}))
    lists["meta"] = {**meta, "md5": md5(folder / meta["filename"])}
    of_two = type(kind.__name__, (kind,), lists)
    monkeypatch.setattr(TARGETS[target].reader, "SET", replace(set_of(target), kind=of_two))


def labels_and_names(images):
    return images.labels.tolist(), [images.dataset.names[i].rsplit("/", 1)[-1] for i in range(len(images))]


def test_flowers_are_trained_on_with_train_and_val_and_tested_on_test(flowers, tmp_path):
    train, test = load_splits("flowers", tmp_path, 16)
    labels, names = labels_and_names(train)
    assert names == [f"image_{i:05d}.jpg" for i in range(1, 7)] and labels == [0, 1, 2] * 2
    assert labels_and_names(test) == ([0, 1, 2] * 2, [f"image_{i:05d}.jpg" for i in range(7, 13)])
    assert train[1][0].shape == (3, 26, 30) and len(train.classes) == 102


def test_pets_have_trainval_and_test(pets, tmp_path):
    train, test = load_splits("pets", tmp_path, 16)
    assert (len(train), len(test)) == (6, 4) and train.classes == ["Abyssinian", "Basset Hound"]
    assert labels_and_names(train)[0] == [0, 1] * 3 and labels_and_names(test)[1][0] == "Abyssinian_4.jpg"
    assert train[0][1] == 0 and test[3][1] == 1


def test_textures_are_split_one_with_train_and_val_together(dtd, tmp_path):
    train, test = load_splits("dtd", tmp_path, 16)
    assert labels_and_names(train) == ([0, 1, 0, 1], [f"{t}_{i:04d}.jpg" for i in (1, 2) for t in ("banded", "dotted")])
    assert len(test) == 6 and train.classes == ["banded", "dotted"]


@pytest.mark.parametrize(
    ("target", "kind", "key"),
    [
        ("cifar10", torchvision.datasets.CIFAR10, "labels"),
        ("cifar100", torchvision.datasets.CIFAR100, "fine_labels"),
    ],
)
def test_cifar_in_torchvisions_files(target, kind, key, tmp_path, monkeypatch):
    cifar(tmp_path, kind, key, monkeypatch, target)
    train, test = load_splits(target, tmp_path, 32)
    files = len(kind.train_list)
    assert (len(train), len(test)) == (2 * files, 2)
    assert train[2 * files - 2][0].unique().tolist() == [files - 1] and test[0][0].unique().tolist() == [files]
    assert train.labels[:2].tolist() == [0, 1] and train.classes[3] == "class 3"


@pytest.mark.parametrize("target", ["cifar10", "cifar100", "imagenet", "folder"])
def test_folders_of_real_photographs(target, real_data, tmp_path):
    folders = sorted((real_data / "imagenet_mini" / "train").iterdir())[:3]
    for split in ("train", "val"):
        for folder in folders:
            shutil.copytree(folder, tmp_path / split / folder.name)
    train, test = load_splits(target, tmp_path, 32)
    assert train.classes == [folder.name for folder in folders]
    assert len(train) == len(test) == sum(len(list(folder.iterdir())) for folder in folders)
    assert torch.equal(train[0][0], test[0][0]) and train[0][0].float().std() > 10


def test_grayscale_and_cmyk_photographs_go_through_and_a_damaged_one_is_named(pets, tmp_path, photographs):
    photographs(1).convert("L").save(pets / "images" / "Abyssinian_1.jpg")
    photographs(2).convert("CMYK").save(pets / "images" / "basset_hound_1.jpg")
    bad = pets / "images" / "Abyssinian_2.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    train, _ = load_splits("pets", tmp_path, 16)
    gray, cmyk = train[0][0], train[1][0]
    assert gray.shape[0] == cmyk.shape[0] == 3 and torch.equal(gray[0], gray[2])
    expected = torch.from_numpy(np.array(photographs(2))).permute(2, 0, 1).float()
    assert (cmyk.float() - expected).mean().abs() < 4, "not the inverted colours of CMYK"
    with pytest.raises(UserError, match=r"cannot read the image .*Abyssinian_2\.jpg"):
        train[2]
    (pets / "images" / "Abyssinian_3.jpg").unlink()
    with pytest.raises(UserError, match=r"Abyssinian_3\.jpg"):
        train[4]


def test_a_missing_file_of_labels_is_told_apart_from_wrong_pixels(flowers, tmp_path):
    (flowers / "setid.mat").write_bytes(b"damaged")
    with pytest.raises(UserError, match="no flowers in .*not found or corrupted"):
        load_splits("flowers", tmp_path, 16)


@pytest.mark.parametrize("target", ["cifar10", "cifar100", "flowers", "pets", "dtd"])
def test_missing_data_say_what_to_fetch_and_where_to_put_it(target, tmp_path):
    with pytest.raises(UserError) as raised:
        load_splits(target, tmp_path, 32)
    said = str(raised.value)
    assert said.startswith(f"no {target} in {tmp_path}") and "--download" in said and "\n" not in said
    for url, checksum in set_of(target).archives:
        assert url in said and checksum in said
    assert f"to {tmp_path / set_of(target).unpack} and unpack there" in said


def test_imagenet_says_its_layout(tmp_path):
    with pytest.raises(UserError, match="no imagenet in .*/train/<class>/.*image-net.org"):
        load_splits("imagenet", tmp_path, 32)


def test_addresses_and_checksums_are_torchvisions():
    known = torchvision.datasets
    flowers = [known.Flowers102._file_dict[name] for name in ("image", "label", "setid")]
    prefix = known.Flowers102._download_url_prefix
    assert set_of("flowers").archives == tuple((prefix + name, checksum) for name, checksum in flowers)
    assert set_of("pets").archives == known.OxfordIIITPet._RESOURCES
    assert set_of("dtd").archives == ((known.DTD._URL, known.DTD._MD5),)
    for target, kind in (("cifar10", known.CIFAR10), ("cifar100", known.CIFAR100)):
        assert set_of(target).archives == ((kind.url, kind.tgz_md5),)
        assert set_of(target).folder == kind.base_folder


def test_a_download_that_fails_says_what_to_do_by_hand(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", refuse)
    with pytest.raises(UserError, match=r"cannot download pets: .*no network.*fetch https://.*MD5") as raised:
        download("pets", tmp_path)
    assert "\n" not in str(raised.value)


@pytest.fixture
def served(tmp_path):
    """The address at which a server on this machine gives the files of tmp_path."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_downloaded_is_checked_unpacked_and_read(dtd, served, tmp_path, monkeypatch):
    """From an address on this machine; then with another checksum."""
    archive = tmp_path / "dtd-r1.0.1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(dtd, "dtd")
    sums = {"right": md5(archive), "wrong": "0" * 32}
    for name, checksum in sums.items():
        kind = type("DTD", (torchvision.datasets.DTD,), {"_URL": f"{served}/{archive.name}", "_MD5": checksum})
        monkeypatch.setattr(TARGETS["dtd"].reader, "SET", replace(set_of("dtd"), kind=kind))
        if name == "right":
            download("dtd", tmp_path / name)
            train, test = load_splits("dtd", tmp_path / name, 16)
            assert (len(train), len(test)) == (4, 6)
        else:
            with pytest.raises(UserError, match="cannot download dtd"):
                download("dtd", tmp_path / name)


def test_the_root_is_found_from_the_folders_that_people_name(flowers, dtd, tmp_path, monkeypatch):
    assert find_root("flowers", tmp_path) == find_root("flowers", flowers) == tmp_path
    assert find_root("dtd", tmp_path) == find_root("dtd", tmp_path / "dtd") == tmp_path
    (tmp_path / "cifar10" / "train").mkdir(parents=True)
    assert find_root("cifar10", tmp_path) == find_root("cifar10", tmp_path / "cifar10") == tmp_path / "cifar10"
    assert find_root("imagenet", tmp_path) == tmp_path and find_root("digits", tmp_path) is None
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert find_root("flowers", None) == tmp_path
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert str(find_root("pets", None)) == "datasets"


def test_flowers_and_pets_are_judged_by_the_mean_of_their_classes():
    judged = {target: headline(target, "linear") for target in targets_of("recognition")}
    assert [target for target, metrics in judged.items() if metrics == ("class_mean",)] == ["flowers", "pets"]


def test_training_and_test_images_must_have_the_same_classes(pets, tmp_path):
    lines = (pets / "annotations" / "test.txt").read_text().splitlines()
    (pets / "annotations" / "test.txt").write_text("\n".join(line for line in lines if "Abys" in line) + "\n")
    with pytest.raises(UserError, match="differ in their classes: Basset Hound"):
        load_splits("pets", tmp_path, 16)
