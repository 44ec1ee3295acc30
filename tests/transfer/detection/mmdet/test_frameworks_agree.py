"""detectron2 and mmdet on the same tiny data from the same checkpoint."""

import math
from dataclasses import replace

import pytest
import torch

from tests.requirements import requires
from tests.transfer.detection.recipes import DIGITS
from transfer.convert import convert
from transfer.detection.data.coco import read as read_coco
from transfer.detection.detect import detect
from transfer.detection.detectron2.recipe import resolve

pytestmark = requires("detection", "mmdet")


def detectron2s(source, settings, data, folder):
    """The normalised validation images, and the backbone's stages of each."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import instantiate

    from transfer.detection.detectron2.dataset import registered
    from transfer.detection.detectron2.loaders import evaluation_loader

    backbone = convert(source.plain(0.9), "detectron2", folder, source.metadata)[0]
    with registered(data):
        config = resolve(replace(settings, recipe=DIGITS, overrides=()), backbone, data, folder).config
        model = instantiate(config.model).eval()
        DetectionCheckpointer(model).load(config.train.init_checkpoint)
        images = [model.preprocess_image([x]).tensor for batch in evaluation_loader(config) for x in batch]
    return images, [list(model.backbone.bottom_up(image).values()) for image in images]


def mmdets(source, settings, data, folder):
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    from transfer.detection.mmdet.loaders import evaluation_loader
    from transfer.detection.mmdet.recipe import resolve

    backbone = convert(source.plain(0.9), "mmdet", folder, source.metadata)[0]
    config = resolve(settings, backbone, data, folder).config
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
    model.init_weights()
    model.eval()
    images = [model.data_preprocessor(batch, False)["inputs"] for batch in evaluation_loader(config, data)]
    return images, [list(model.backbone(image)) for image in images]


@torch.no_grad()
def test_before_training_both_see_the_same_images_and_compute_the_same_features(source, settings, tmp_path):
    """Through each framework's own reading, normalisation and backbone: one RGB order, one mean, equal weights."""
    data = read_coco(settings.data).prepared(tmp_path, write=True)
    (images, stages), (others, other_stages) = (
        prepare(source, settings, data, tmp_path / prepare.__name__) for prepare in (detectron2s, mmdets)
    )
    assert len(images) == len(others) == 3
    for one, other in zip(images, others, strict=True):
        assert one.shape == (1, 3, 64, 64) and not torch.equal(one[:, 0], one[:, 2])
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    for maps, other_maps in zip(stages, other_stages, strict=True):
        assert len(maps) == len(other_maps) == 4
        for one, other in zip(maps, other_maps, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    plain = source.plain(0.9)
    for image, maps in zip(others, other_stages, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(maps, plain.stage_maps(image), strict=True))


def test_after_training_both_leave_a_result_of_the_same_form_side_by_side(source, settings, tmp_path):
    one = detect(source, 0.5, replace(settings, framework="detectron2", recipe=DIGITS, overrides=()), tmp_path)
    other = detect(source, 0.5, settings, tmp_path)
    found = {path.relative_to(tmp_path / settings.data.name).parts[0] for path in tmp_path.rglob("result.json")}
    assert found == {"detection", "detection_mmdet"}
    assert one.keys() == other.keys() and one["metrics"].keys() == other["metrics"].keys()
    assert one["details"].keys() == other["details"].keys()
    assert one["details"]["detector"].keys() == other["details"]["detector"].keys()
    for key in ("params", "macs", "checkpoint", "dataset", "task", "method", "width"):
        assert one[key] == other[key]
    for key in ("iterations", "batch", "image_size", "classes", "train_images", "val_images", "data"):
        assert one["details"][key] == other["details"][key]
    for record in (one, other):
        assert all(0 <= value <= 100 for value in record["metrics"].values() if value is not None)
        assert math.isfinite(record["metrics"]["box/AP"])
    [path] = tmp_path.rglob("detection_mmdet/**/model_final.pth")
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_without_mmdet_one_line_says_what_to_install(source, settings, tmp_path, monkeypatch):
    from pretrain.common.errors import UserError
    from transfer import installed

    monkeypatch.setattr(installed, "present", lambda module: module != "mmcv._ext")
    with pytest.raises(UserError, match="^mmcv._ext is not installed; .*make env EXTRAS=mmdet"):
        detect(source, 0.5, settings, tmp_path)
    assert list(tmp_path.iterdir()) == []
