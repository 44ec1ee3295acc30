"""tools/benchmark.py data: both arrangements do the same work, and missing data is told in one line."""

import argparse
from dataclasses import replace

import pytest
import torch
from PIL import Image

from benchmark import data, index
from benchmark.index import LAYOUTS, measure_index
from benchmark.show import shown
from pretrain.common.errors import UserError
from pretrain.config import load_config
from pretrain.data.images.datasets import image_dataset
from tests.requirements import demand


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (120, 100), (40 * i, 200, 9)).save(tmp_path / "train" / "a" / f"{i}.jpg")
    return tmp_path


def parsed(*options) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    args = parser.parse_args([*map(str, options), "--repeats", "1", "--images", "4"])
    args.threads, args.device, args.json = None, "cpu", False
    return args


def test_small_images_come_from_memory_and_need_no_data():
    found = data.measure(parsed("--image-size", 32))
    on_pil, ours = found["rows"]
    assert ours["ratio"] == pytest.approx(ours["images_per_second"] / on_pil["images_per_second"])
    shares = found["shares_of_ours_percent"]
    assert shares["decode"] == 0 and sum(shares.values()) == pytest.approx(100, abs=0.01)
    assert found["threads"] == 1 and found["data"] == "digits"
    assert "| ours" in shown(found, False)


@pytest.mark.parametrize("decode", ["full", "reduced"])
def test_photographs_are_decoded_and_both_arrangements_give_equal_shapes(folder, decode):
    found = data.measure(parsed("--image-size", 72, "--data", folder, "--decode", decode))
    assert found["shares_of_ours_percent"]["decode"] > 0 and found["decode"] == decode
    geometry = {"jitter_p": 0, "grayscale": 0, "blur": 0}  # of images of one colour it leaves all as it was
    settings, source = load_config(data.LARGE, []).data, image_dataset("folder", folder)
    settings = replace(settings, views=replace(settings.views, **geometry))
    on_pil = data.OnPil(source, settings, 72, [0, 1]).run()
    ours = data.Ours(source, settings, 72, [0, 1], "cpu", decode)
    finished = ours.finish(ours.loader.__getitems__([(0, 0), (0, 1)]))
    for a, b in zip(on_pil, finished, strict=True):
        assert a.shape == b.shape == (2, 3, 72, 72) and a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=0.05)  # two or three of 255 levels, normalised


def test_views_are_those_of_the_config(folder):
    """ImageNet's have a blur, CIFAR's have none."""
    blurs = [load_config(config, []).data.views.blur for config in (data.SMALL, data.LARGE)]
    assert blurs == [0.0, 0.5]
    assert data.measure(parsed("--config", data.LARGE, "--image-size", 40))["image_size"] == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image-size", 224), "--image-size 224 needs photographs; expected --data ROOT with train/<class>"),
        (("--data", "nowhere"), "no such folder: nowhere"),
        (("--image-size", 4), "--image-size 4 is too small; expected 8 or more"),
        (("--config", "nothing.py"), "no such config: nothing.py"),
    ],
)
def test_a_mistake_is_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        data.measure(parsed(*options))
    assert "\n" not in str(caught.value)


def test_an_index_is_built_and_opened_again():
    built, again = measure_index(20_500, "cpu", ["folders"])["rows"]
    assert built["images"] == again["images"] == 20_500
    assert again["seconds"] < built["seconds"] and built["peak_megabytes"] < 30


@pytest.mark.parametrize("layout", LAYOUTS)
def test_listings_are_what_they_stand_for(layout, tmp_path, monkeypatch):
    if layout == "parquet":
        demand("images")
    monkeypatch.setattr(index, "FOLDERS", 4)
    found = image_dataset("folder", LAYOUTS[layout](tmp_path, 10))
    labels = [0] * 10 if layout == "flat" else [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert found.labels.tolist() == labels and "00000000_0.JPEG" in found.names[0]
