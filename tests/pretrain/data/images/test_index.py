"""Indices are compact, and found again as long as nothing changed."""

import json
import os
import time

import numpy as np
import pytest

from pretrain.data.images import index
from pretrain.data.images.files import index_folder
from pretrain.data.images.index import Index, PackedNames, cached, stamp


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("US3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "WORTHWHILE", 2)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    for c in "ab":
        (tmp_path / "images" / c).mkdir(parents=True)
        for n in range(3):
            (tmp_path / "images" / c / f"{n}.jpg").write_bytes(b"")
    settle(tmp_path / "images")
    return tmp_path / "images"


def settle(folder):
    """As if nothing had changed for an hour."""
    then = time.time() - 3600
    for path in (folder, *folder.iterdir()):
        os.utime(path, (then, then))


class Built:
    def __init__(self, folder):
        self.folder, self.times = folder, 0

    def __call__(self) -> Index:
        self.times += 1
        return index_folder(self.folder)


def content(found: Index) -> tuple:
    names = [found.names[i] for i in range(len(found))]
    return names, found.labels.tolist(), found.classes, found.found, list(found.shards), found.places.tolist()


def test_an_index_is_found_again_and_equal(cache, folder):
    build = Built(folder)
    first, second = (cached("folder", folder, "train", build) for _ in range(2))
    assert build.times == 1 and content(first) == content(second)
    assert isinstance(second.names.bytes, np.memmap)
    assert cached("folder", folder, "test", build) and build.times == 2


def add(folder):
    (folder / "b" / "9.jpg").write_bytes(b"")


def remove(folder):
    (folder / "a" / "0.jpg").unlink()


def rename(folder):
    (folder / "a").rename(folder / "c")


@pytest.mark.parametrize("change", [add, remove, rename])
def test_any_change_makes_a_new_one(change, cache, folder):
    cached("folder", folder, "train", build := Built(folder))
    change(folder)
    found = cached("folder", folder, "train", build)
    assert build.times == 2 and content(found) == content(index_folder(folder))


def test_what_has_just_changed_is_not_kept(cache, folder):
    add(folder)
    build = Built(folder)
    for _ in range(2):
        cached("folder", folder, "train", build)
    assert build.times == 2 and not list(cache.glob("index/*/header.json"))


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"x"), lambda p: p.unlink(), lambda p: p.write_bytes(b"")])
@pytest.mark.parametrize("name", ["header.json", "bytes.npy", "labels.npy"])
def test_a_damaged_cache_is_made_anew(damage, name, cache, folder):
    cached("folder", folder, "train", build := Built(folder))
    [path] = cache.glob(f"index/*/{name}")
    damage(path)
    assert content(cached("folder", folder, "train", build)) == content(index_folder(folder))
    assert build.times == 2


def test_a_cache_that_cannot_be_written_costs_only_time(cache, folder):
    cache.write_text("a file")
    assert len(cached("folder", folder, "train", Built(folder))) == 6


def test_a_million_images_take_no_more_than_their_names():
    names = PackedNames(f"n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG" for i in range(100_000))
    assert names.bytes.nbytes + names.ends.nbytes < 45 * len(names)
    assert names[12_345] == "n00000345/n00000345_12345.JPEG"


def test_stamps_survive_json(tmp_path):
    assert tuple(json.loads(json.dumps(stamp(tmp_path)))) == stamp(tmp_path)
