"""Frozen features: those of the sliced network, every width and view from one pass, and kept for the next."""

import json

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.common.feature_cache import FeatureCache, Sink
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.identity import dataset_hash
from transfer.recognition.features import Extractor, View, extract_widths
from transfer.recognition.images import Images, as_tested
from transfer.source import Source

FLIP = Augmentation(crop_scale=(0.8, 1.0), interpolation="bicubic", jitter_p=0.0, grayscale=0.0)
VIEWS = [View(16), View(16, FLIP, seed=3, number=0), View(16, FLIP, seed=3, number=1)]


class Counted(Images):
    """The training images of a folder, counting how often each is decoded."""

    def __init__(self, folder):
        super().__init__(image_dataset("folder", folder))
        self.decoded = torch.zeros(len(self), dtype=torch.int64)

    def __getitem__(self, index):
        self.decoded[index] += 1
        return super().__getitem__(index)


@pytest.fixture
def extractor(source):
    def make(cache=None, widths=(1.0, 0.5), of=source, say=print, devices=("cpu",)) -> Extractor:
        modules = extract_widths(of, list(widths), "cpu")
        kept = FeatureCache(cache, say, "--cache FOLDER, or --no-cache")
        return Extractor(of, modules, list(devices), kept, batch=20)

    return make


def equal(one, other) -> bool:
    """Whether two answers of an extractor hold the same numbers."""
    return one.keys() == other.keys() and all(torch.equal(a, b) for w in one for a, b in zip(one[w], other[w]))


def test_features_are_those_of_the_sliced_network(source, extractor, image_folder):
    images = Counted(image_folder)
    found = extractor()(images, VIEWS, "")
    for i, view in enumerate(VIEWS):
        pixels = torch.stack([view.of(images)[n][0] for n in range(len(images))])
        for width in (1.0, 0.5):
            expected = source.net(normalise(pixels, source.metadata["mean"], source.metadata["std"]), width=width)
            torch.testing.assert_close(found[width][i].float(), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(pixels[3], VIEWS[2].of(images)[3][0]) and len(images) == 48
    assert torch.equal(as_tested(images, 16)[5][0], View(16).of(images)[5][0])


@pytest.mark.parametrize("count", [2, 5, 20])
def test_devices_that_take_turns_find_the_same_in_the_same_order(extractor, image_folder, count):
    images = Counted(image_folder)
    assert equal(extractor(devices=["cpu"] * count)(images, VIEWS, ""), extractor()(images, VIEWS, ""))


def test_one_pass_decodes_each_image_once_for_all_widths_and_views(extractor, image_folder):
    images = Counted(image_folder)
    extractor(widths=(1.0, 0.5))(images, VIEWS, "")
    assert images.decoded.tolist() == [1] * 48


def test_a_second_run_reads_the_cache_and_decodes_nothing(extractor, image_folder, tmp_path):
    images = Counted(image_folder)
    first = extractor(tmp_path / "cache")(images, VIEWS, "")
    again = extractor(tmp_path / "cache")
    assert equal(again(images, VIEWS, ""), first) and images.decoded.tolist() == [1] * 48
    size = 48 * (64 + 128) * 2
    assert again.cache.written == 0 and size * 3 < again.cache.read < size * 3 + 6 * 200, "npy headers"
    assert equal(extractor()(images, VIEWS, ""), first), "the same numbers as without a cache"


def test_only_what_is_missing_is_computed(extractor, image_folder, tmp_path):
    images = Counted(image_folder)
    extractor(tmp_path, widths=(1.0,))(images, VIEWS[:1], "")
    more = extractor(tmp_path, widths=(1.0, 0.5))
    found = more(images, VIEWS, "")
    assert more.cache.written == 48 * 2 * (2 * 128 + 3 * 64), "all but one view of the wider"
    assert equal(found, extractor()(images, VIEWS, ""))


def change_file(folder, source):
    file = folder / "train" / "dark" / "0.JPEG"
    file.write_bytes(file.read_bytes() + b"\0")


def rename_class(folder, source):
    (folder / "train" / "dark").rename(folder / "train" / "night")


def calibrate(folder, source):
    generator = torch.Generator().manual_seed(1)
    source.net.calibrate([torch.randn(16, 3, 16, 16, generator=generator)], [1.0, 0.5])


def change_weights(folder, source):
    with torch.no_grad():
        source.net.backbone.conv1.weight.mul_(1.1)
    source.net.statistics.clear()
    calibrate(folder, source)


def change_mean(folder, source):
    source.net.metadata["mean"] = [0.4, 0.5, 0.5]


@pytest.mark.parametrize("change", [change_file, rename_class, calibrate, change_weights, change_mean])
def test_whatever_the_features_depend_on_makes_a_new_entry(change, source, extractor, image_folder, tmp_path):
    extractor(tmp_path)(Counted(image_folder), VIEWS[:1], "")
    change(image_folder, source)
    images = Counted(image_folder)
    again = extractor(tmp_path)
    found = again(images, VIEWS[:1], "")
    assert again.cache.read == 0 and images.decoded.tolist() == [1] * 48
    assert equal(found, extractor()(images, VIEWS[:1], ""))


@pytest.mark.parametrize(
    "view", [View(20), View(16, FLIP, 4, 0), View(16, FLIP, 3, 2), View(16, Augmentation(flip=0.0), 3, 0)]
)
def test_another_view_is_another_entry(view, extractor, image_folder, tmp_path):
    extractor(tmp_path)(Counted(image_folder), VIEWS, "")
    again = extractor(tmp_path)
    again(Counted(image_folder), [view], "")
    assert again.cache.read == 0


def flip_a_bit(array, record):
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)


def truncate(array, record):
    array.write_bytes(array.read_bytes()[:-10])


def remove(array, record):
    array.unlink()


def garble(array, record):
    record.write_text("{")


def say_nothing_of_use(array, record):
    record.write_text(json.dumps(["not", "a", "record"]))


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, remove, garble, say_nothing_of_use])
def test_a_damaged_entry_is_computed_anew_with_a_line(damage, extractor, image_folder, tmp_path):
    images, said = Counted(image_folder), []
    first = extractor(tmp_path, widths=(1.0,))(images, VIEWS[:2], "")
    first = {width: [features.clone() for features in found] for width, found in first.items()}
    array = sorted(tmp_path.glob("*.npy"))[0]
    damage(array, array.with_suffix(".json"))
    again = extractor(tmp_path, widths=(1.0,), say=said.append)
    assert equal(again(images, VIEWS[:2], ""), first)
    assert len(said) == 1 and str(array) in said[0] and "computed anew" in said[0]
    whole = extractor(tmp_path, widths=(1.0,), say=said.append)
    assert equal(whole(images, VIEWS[:2], ""), first) and whole.cache.written == 0 and len(said) == 1


def test_an_interrupted_pass_leaves_nothing_behind(extractor, image_folder, tmp_path):
    images = Counted(image_folder)
    last = image_folder / "train" / "light" / "9.png"
    last.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read the image .*light/9\.png"):
        extractor(tmp_path)(images, VIEWS, "")
    assert list(tmp_path.glob("*.npy")) == list(tmp_path.glob("*.json")) == list(tmp_path.glob(".*")) == []


def test_the_key_of_an_entry_can_be_read(extractor, source, image_folder, tmp_path):
    extractor(tmp_path, widths=(0.5,))(Counted(image_folder), VIEWS[1:2], "")
    [file] = tmp_path.glob("*.json")
    key = json.loads(file.read_text())["key"]
    assert key["network"]["weights"] == source.net.hash
    assert key["network"]["channels"] == source.net.backbone.channels(0.5).key
    assert key["view"]["views"]["crop_scale"] == [0.8, 1.0] and key["view"]["seed"] == 3


def test_views_of_other_random_numbers_have_keys_of_their_own(monkeypatch, extractor):
    plain, augmented = (extractor().key(0.5, view, "data") for view in VIEWS[:2])
    monkeypatch.setattr("transfer.recognition.features.RANDOM_NUMBERS", 99)
    assert extractor().key(0.5, VIEWS[0], "data") == plain
    assert extractor().key(0.5, VIEWS[1], "data") != augmented


def test_networks_of_the_same_weights_but_another_stem_have_keys_of_their_own(source, extractor):
    key = extractor().key(0.5, VIEWS[0], "data")
    other = Source(source.net, "us3l", source.net.hash)
    other.net.metadata["backbone"] = {**source.net.metadata["backbone"], "stem": "imagenet"}
    assert extractor(of=other).key(0.5, VIEWS[0], "data") != key


def test_embedded_images_have_a_fingerprint_of_their_pixels():
    small, again, large = (dataset_hash(image_dataset("digits", image_size=size)) for size in (8, 8, 9))
    assert small == again != large != dataset_hash(image_dataset("digits", split="test", image_size=9))


def test_a_folder_that_cannot_be_written_is_one_line(extractor, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot keep features in .*--no-cache"):
        extractor(tmp_path / "file")


def test_a_full_disk_is_said_and_the_features_stay_in_memory(extractor, image_folder, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    full = extractor(tmp_path, widths=(0.5,), say=said.append)
    found = full(Counted(image_folder), VIEWS[:1], "")
    assert equal(found, extractor(widths=(0.5,))(Counted(image_folder), VIEWS[:1], ""))
    assert "are not kept" in said[0] and not list(tmp_path.glob("*.npy"))


def test_features_beyond_float16_are_clipped_and_said():
    sink = Sink()
    sink.append(torch.tensor([[1e6, -1e6, 2.0]]))
    assert sink.finish().tolist() == [[65504, -65504, 2]] and sink.clipped
