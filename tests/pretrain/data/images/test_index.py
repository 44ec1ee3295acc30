"""Indices are compact, and found again as long as nothing changed."""

import json
import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.images import index
from pretrain.data.images.files import index_folder
from pretrain.data.images.index import Coded, Index, PackedNames, cached, sorted_by_parts, stamp


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


def test_a_time_in_the_future_is_as_good_as_one_in_the_past(cache, folder):
    """Of archives that keep it, and of servers whose clock is ahead: any later change has another."""
    os.utime(folder / "a", (time.time() + 3600,) * 2)
    build = Built(folder)
    for _ in range(2):
        cached("folder", folder, "train", build)
    assert build.times == 1
    add(folder), remove(folder)
    assert len(cached("folder", folder, "train", build)) == 6 and build.times == 2


def test_a_cache_that_cannot_be_written_costs_only_time_and_is_said(cache, folder):
    cache.write_text("a file")
    with pytest.warns(UserWarning, match="of 6 images is made anew by each process: .*US3L_CACHE names another place"):
        assert len(cached("folder", folder, "train", Built(folder))) == 6


def test_several_lists_of_names_are_one():
    parts = [["a", "bé"], [], ["c/d"]]
    assert list(PackedNames.joined([PackedNames(part) for part in parts])) == ["a", "bé", "c/d"]


def test_equal_values_are_one_number():
    coded = Coded(["b", None, "b", "a"])
    assert [coded.values[code] for code in coded.codes] == ["b", None, "b", "a"] and coded.codes.max() == 2
    assert Coded().codes.tolist() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab-/é\udc80", min_size=1, max_size=5)), max_size=12))
def test_images_are_in_the_order_of_folders(images):
    """By label, then by the parts of their names as a walk meets them; equal ones stay in their order."""
    labels, names = np.array([label for label, _ in images], np.int64), [name for _, name in images]
    expected = sorted(range(len(images)), key=lambda i: (labels[i], names[i].split("/")))
    assert sorted_by_parts(PackedNames(names), labels).tolist() == expected


def test_a_million_images_take_no_more_than_their_names():
    names = PackedNames(f"n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG" for i in range(100_000))
    assert names.bytes.nbytes + names.ends.nbytes < 45 * len(names)
    assert names[12_345] == "n00000345/n00000345_12345.JPEG"


def test_stamps_survive_json(tmp_path):
    assert tuple(json.loads(json.dumps(stamp(tmp_path)))) == stamp(tmp_path)
