"""Parameters and multiply-accumulates of a whole detector."""

import pytest
import torch

from tests.requirements import requires
from tests.transfer.detection.recipes import COCO, DIGITS, VOC

pytestmark = requires("detection")


def build(path, device="cpu", change=lambda config: None):
    from detectron2.config import LazyConfig, instantiate

    config = LazyConfig.load(str(path))
    change(config)
    with torch.device(device):
        return instantiate(config.model)


def test_mask_rcnn_has_its_known_parameters_and_counts_regions_by_the_recipe():
    from transfer.detection.detectron2.cost import detector_cost

    found = detector_cost(build(COCO, "meta"), 800)
    assert (found["image_size"], found["proposals"], found["detections"]) == (800, 1000, 100)
    assert found["params"] == pytest.approx(44.4e6, rel=0.01)  # torchvision's maskrcnn_resnet50_fpn
    side, parts = 800, found["parts"]
    heads = 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * 81 + 1024 * 320)
    assert parts["boxes"] == heads and found["macs"] == sum(parts.values())
    cells = sum((side // stride) ** 2 for stride in (4, 8, 16, 32)) + 13**2
    assert parts["proposals"] == cells * (9 * 256 * 256 + 256 * 3 + 256 * 12)
    masks = 14 * 14 * 4 * 9 * 256 * 256 + 28 * 28 * (256 * 256 + 256 * 80)
    assert parts["masks"] == 100 * masks


def test_without_masks_their_part_is_missing_and_sides_are_padded():
    from transfer.detection.detectron2.cost import detector_cost

    found = detector_cost(build(VOC, "meta"), 130)
    assert found["image_size"] == 160 and set(found["parts"]) == {"backbone", "proposals", "boxes"}


def test_backbone_and_pyramid_agree_with_fvcores_counter():
    from fvcore.nn import FlopCountAnalysis

    from transfer.detection.detectron2.cost import detector_cost

    model = build(DIGITS).eval()
    found = detector_cost(model, 64)
    counter = FlopCountAnalysis(model.backbone, torch.randn(1, 3, 64, 64)).unsupported_ops_warnings(False)
    by_operator = counter.uncalled_modules_warnings(False).by_operator()
    assert found["parts"]["backbone"] == by_operator["conv"]
    assert found["params"] == sum(p.numel() for p in model.parameters())
