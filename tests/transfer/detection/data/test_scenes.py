"""Digit scenes: a COCO data set that is a function of its seed, whose masks are exactly the pixels of its digits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pretrain.common.errors import UserError
from pretrain.data.images.digits import digits
from tests.requirements import requires
from tests.transfer.detection.conftest import SMALL
from transfer.detection.data import scenes as module
from transfer.detection.data.coco import read as read_coco
from transfer.detection.data.scenes import INK, VISIBLE, make_scenes, place, scene

pytestmark = requires("detection")


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(scenes, tmp_path):
    again = make_scenes(tmp_path / "again", SMALL)
    other = make_scenes(tmp_path / "other", replace(SMALL, seed=2))
    assert contents(again) == contents(scenes)
    images = [name for name in contents(scenes) if name.endswith(".png")]
    assert len(images) == 9 and all(contents(other)[name] != contents(scenes)[name] for name in images)


def test_a_finished_folder_is_used_again_and_a_foreign_one_is_refused(scenes, tmp_path):
    before = (scenes / "scenes.json").stat().st_mtime_ns
    assert make_scenes(scenes, SMALL) == scenes and (scenes / "scenes.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds other data"):
        make_scenes(scenes, replace(SMALL, train=7))
    with pytest.raises(UserError, match="holds other data"):
        make_scenes(tmp_path, SMALL)


def test_the_layout_is_coco_s_with_ten_classes(scenes):
    data = read_coco(scenes)
    assert data.classes == tuple("0123456789")
    assert (data.train.image_count, data.val.image_count) == (6, 3)
    assert data.mask_format == "bitmask"


def test_boxes_and_areas_are_those_of_the_masks(scenes):
    from pycocotools import mask as coco_mask

    content = json.loads((scenes / "annotations/instances_train2017.json").read_text())
    for annotation in content["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        assert annotation["bbox"] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
        assert annotation["area"] == mask.sum() > 0


def test_masks_are_exactly_the_pixels_that_a_digit_coloured(monkeypatch):
    """With a black canvas whatever is not black is a digit, and no pixel belongs to two."""
    monkeypatch.setattr(module, "texture", lambda rng, size: np.zeros((size, size, 3)))
    images, labels = digits("train", 8)
    for seed in range(20):
        canvas, objects = scene(np.random.default_rng(seed), images[:, 0].numpy(), labels.numpy(), SMALL)
        masks = np.stack([mask for _, mask in objects])
        assert np.array_equal(masks.sum(0) == 1, canvas.any(-1)) and masks.sum(0).max() == 1
        assert SMALL.objects[0] <= len(objects) <= SMALL.objects[1]


def test_digits_stay_visible_and_have_their_labels(monkeypatch):
    drawn = []

    def remember(rng, glyph, settings):
        drawn.append((glyph, place(rng, glyph, settings)))
        return drawn[-1][1]

    monkeypatch.setattr(module, "place", remember)
    images, labels = digits("test", 8)
    glyphs = images[:, 0].numpy()
    _, objects = scene(np.random.default_rng(3), glyphs, labels.numpy(), replace(SMALL, objects=(4, 4)))
    for label, visible in objects:
        whole = [(g, ink >= INK) for g, ink in drawn if not (visible & ~(ink >= INK)).any()]
        glyph, mask = min(whole, key=lambda pair: pair[1].sum())
        assert visible.sum() >= VISIBLE**3 * mask.sum()  # each of three later digits may cover a part
        assert label in labels.numpy()[(glyphs == glyph).all(axis=(1, 2))]


def test_validation_scenes_show_digits_that_training_has_not_seen(scenes, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "digits", lambda split, size: asked.append(split) or digits(split, size))
    make_scenes(tmp_path / "scenes", SMALL)
    assert asked == ["train", "test"]


def test_images_are_rgb_of_the_asked_size(scenes):
    with Image.open(scenes / "train2017/000001.png") as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")
