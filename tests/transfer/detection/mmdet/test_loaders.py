"""mmdet's images in the common stream."""

import json
import shutil
from dataclasses import replace
from itertools import islice

import pytest
import torch
from PIL import Image

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, write_voc
from transfer.detection.data.coco import read as read_coco
from transfer.detection.data.voc import read as read_voc
from transfer.detection.mmdet.recipe import resolve
from transfer.detection.settings import DetectionSettings
from transfer.detection.stream import BatchStream
from transfer.recipes import FOLDERS

pytestmark = requires("detection", "mmdet")
LANDSCAPE = [True, True, False, True, False, True, True]


class Shapes(list):
    """What mmdet's batch sampler asks of a data set."""

    def get_data_info(self, index):
        return {"width": 2 if self[index] else 1, "height": 1.5}


def test_order_and_groups_are_mmdets():
    from mmdet.datasets import AspectRatioBatchSampler
    from mmengine.dataset import InfiniteSampler

    sampler = InfiniteSampler(Shapes(LANDSCAPE), seed=3)
    theirs = list(islice(AspectRatioBatchSampler(sampler, batch_size=2), 30))
    ours = [[index for index, _ in batch] for batch in islice(BatchStream(7, 2, 3, landscape=LANDSCAPE), 30)]
    assert ours == theirs


@pytest.fixture
def config(settings, narrow, tmp_path):
    data = read_coco(settings.data)
    return resolve(settings, narrow, data, tmp_path).config, data


def test_what_is_seen_is_a_function_of_the_place_in_the_stream(config):
    from transfer.detection.mmdet.loaders import streamed

    images = streamed(config[0].train_dataloader, seed=5)
    seen = [images[0, number]["data_samples"].flip for number in range(8)]
    assert set(seen) == {True, False} and seen == [images[0, number]["data_samples"].flip for number in range(8)]


def test_a_continued_loader_gives_the_rest_of_the_whole(config):
    from transfer.detection.mmdet.loaders import training_loader

    whole, rest = training_loader(*config), training_loader(*config)
    rest.batch_sampler.start = 3
    expected = [batch["inputs"] for batch in islice(whole, 6)][3:]
    for one, other in zip(expected, islice(rest, 3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other["inputs"], strict=True))


def test_every_object_that_is_kept_is_learnt(settings, narrow, tmp_path):
    from mmdet.registry import DATASETS

    shutil.copytree(settings.data, tmp_path / "coco")
    path = tmp_path / "coco/annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0].update(bbox=[8.3, 5, 0.25, 9])
    content["annotations"][1].update(area=0)
    path.write_text(json.dumps(content))
    data = read_coco(tmp_path / "coco").prepared(tmp_path / "cleaned", write=True)
    config = resolve(replace(settings, data=tmp_path / "coco"), narrow, data, tmp_path).config
    images = DATASETS.build(config.train_dataloader.dataset)
    learnt = sum(len(images.get_data_info(index)["instances"]) for index in range(len(images)))
    assert learnt == len(content["annotations"])


def small_voc(narrow, tmp_path, images: dict):
    """The streamed training images of a small VOC, and its folder."""
    from transfer.detection.mmdet.loaders import streamed

    folder = write_voc(tmp_path / "voc", images)
    settings = DetectionSettings("voc", FOLDERS["mmdet"] / "faster_rcnn_fpn_small.py", folder, device="cpu")
    data = read_voc(folder)
    config = resolve(settings, narrow, data, tmp_path).config
    return streamed(config.train_dataloader, 0, data.train), folder


@pytest.fixture
def voc(narrow, tmp_path):
    return small_voc(narrow, tmp_path, TWO_YEARS)


def test_a_box_of_one_pixel_has_a_size_or_the_loss_were_not_a_number(narrow, tmp_path):
    boxes = [("dog", (20, 30, 20, 30), False), ("dog", (7, 1, 7.9, 40), False)]
    images, _ = small_voc(narrow, tmp_path, {**TWO_YEARS, "VOC2012/trainval": {"2008_000001": boxes}})
    found = images[1]["data_samples"].gt_instances.bboxes.tensor
    sizes = found[:, 2:] - found[:, :2]
    scale = 128 / 64
    assert sizes.tolist() == [[scale, scale], [scale, 39 * scale]]


def test_what_cannot_be_read_is_refused_by_the_files_name(voc):
    images, folder = voc
    assert images[1]["inputs"].shape == (3, 128, 128)
    path = folder / "VOC2012/JPEGImages/2008_000001.jpg"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="2008_000001.jpg cannot be used: ") as error:
        images[1]
    assert "\n" not in str(error.value)


def test_an_image_of_another_size_than_annotated_is_refused_by_name(voc):
    images, folder = voc
    Image.new("RGB", (32, 64)).save(folder / "VOC2012/JPEGImages/2008_000001.jpg")
    with pytest.raises(UserError, match="2008_000001.jpg is not 64 x 64 pixels large, as its annotation says"):
        images[1]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grayscale_and_cmyk_photographs_go_through(voc, mode):
    images, folder = voc
    Image.new(mode, (64, 64), 90 if mode == "L" else (0, 0, 0, 90)).save(folder / "VOC2012/JPEGImages/2008_000001.jpg")
    assert images[1]["inputs"].shape == (3, 128, 128)
