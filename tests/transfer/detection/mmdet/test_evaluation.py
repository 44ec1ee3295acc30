"""mmdet's detections are evaluated as detectron2's are: a perfect detector has 100, and the evaluators agree."""

import json
import logging
from pathlib import Path

import pytest
import torch
from pycocotools import mask as coco_mask

from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, write_voc
from transfer.detection.data.coco import read as read_coco
from transfer.detection.data.voc import read as read_voc
from transfer.detection.evaluation.coco import average_precisions
from transfer.targets import COCO_PRECISIONS

pytestmark = requires("detection", "mmdet")
LOG = logging.getLogger("test")


def perfect_samples(data, shift=0.0):
    """mmdet's data samples whose detections are COCO's annotations."""
    content = json.loads(Path(data.val.annotations).read_text())
    samples = []
    for image in content["images"]:
        own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        boxes = torch.tensor([a["bbox"] for a in own])
        boxes[:, 2:] += boxes[:, :2]
        masks = [torch.from_numpy(coco_mask.decode(a["segmentation"])).bool() for a in own]
        samples.append({"img_id": image["id"], "pred_instances": {
            "bboxes": boxes + shift, "scores": torch.ones(len(own)), "masks": torch.stack(masks),
            "labels": torch.tensor([a["category_id"] - 1 for a in own]),
        }})  # fmt: skip
    return samples


def evaluated(data, samples):
    from mmengine.logging import MMLogger

    from transfer.detection.mmdet.evaluation import CommonEvaluation

    MMLogger.get_instance("evaluation test")
    metric = CommonEvaluation(data)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples)), metric.found


def test_a_perfect_detector_has_an_average_precision_of_100(scenes):
    data = read_coco(scenes)
    metrics, found = evaluated(data, perfect_samples(data))
    for name in ("box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75"):
        assert metrics[f"val/{name}"] == pytest.approx(100)
    assert found["bbox"].keys() == found["segm"].keys() == {*COCO_PRECISIONS, *(f"AP-{i}" for i in range(10))}


def test_a_detector_that_finds_nothing_has_0(scenes):
    data = read_coco(scenes)
    nothing = {"bboxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}
    metrics, _ = evaluated(data, [{"img_id": i, "pred_instances": nothing} for i in (1, 2, 3)])
    assert metrics["val/box/AP"] == metrics["val/mask/AP"] == 0


def test_vocs_boxes_count_from_0_and_end_at_the_last_pixel(tmp_path):
    data = read_voc(write_voc(tmp_path, TWO_YEARS))
    box, label = [4.0, 4.0, 19.0, 19.0], data.classes.index("cat")  # 5 to 20 in the file
    sample = {"img_id": "000003", "pred_instances": {
        "bboxes": torch.tensor([box]), "scores": torch.ones(1), "labels": torch.tensor([label]),
    }}  # fmt: skip
    metrics, _ = evaluated(data, [sample])
    assert metrics == {f"val/box/{name}": pytest.approx(100) for name in ("AP", "AP50", "AP75")}
    sample["pred_instances"]["bboxes"] = torch.tensor([[4.0, 4.0, 20.0, 20.0]])  # a pixel more: 16^2 / 17^2 = 0.886
    assert evaluated(data, [sample])[0]["val/box/AP"] == pytest.approx(80)


def test_it_says_what_detectron2s_evaluator_says(scenes, tmp_path):
    from detectron2.data import DatasetCatalog
    from detectron2.evaluation import COCOEvaluator
    from detectron2.structures import Boxes, Instances

    from transfer.detection.detectron2.dataset import registered
    from transfer.detection.mmdet.evaluation import detections

    data, generator = read_coco(scenes), torch.Generator().manual_seed(0)
    samples = perfect_samples(data)
    for sample in samples:  # boxes that are off, wrong labels, scores in another order
        found = sample["pred_instances"]
        found["bboxes"] = found["bboxes"] + 6 * torch.rand(found["bboxes"].shape, generator=generator)
        found["scores"] = torch.rand(found["scores"].shape, generator=generator)
        found["labels"][0] = 3
    with registered(data) as names:
        DatasetCatalog.get(names["val"][0])  # which tells detectron2 the classes
        evaluator = COCOEvaluator(names["val"][0], output_dir=str(tmp_path))
        evaluator.reset()
        for sample in samples:
            found = sample["pred_instances"]
            instances = Instances(
                (64, 64), pred_boxes=Boxes(found["bboxes"]), scores=found["scores"],
                pred_classes=found["labels"], pred_masks=found["masks"],
            )  # fmt: skip
            evaluator.process([{"image_id": sample["img_id"], "height": 64, "width": 64}], [{"instances": instances}])
        expected = evaluator.evaluate()
    entries = [entry for sample in samples for entry in detections(sample, list(range(1, 11)))]
    ours = average_precisions(data.val.annotations, entries, LOG)
    assert 0 < ours["bbox"]["AP"] < ours["bbox"]["AP50"] < 100
    for task, metrics in expected.items():
        assert ours[task] == pytest.approx(metrics, nan_ok=True)
