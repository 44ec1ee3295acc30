"""VOC's figures: a perfect detector has 100, a shifted box what pycocotools says, and detectron2 agrees on the mean."""

import contextlib
import io
import math

import numpy as np
import pytest

from tests.requirements import requires
from tests.transfer.detection.data.voc import WHOLE, write_voc
from transfer.detection.data.voc import read as read_voc

pytestmark = requires("detection")
OBJECTS = {
    "000001": [("dog", (1, 1, 30, 40), False), ("cat", (35, 5, 60, 30), False)],
    "000002": [("dog", (10, 10, 50, 50), False), ("dog", (40, 1, 64, 20), True)],
    "000003": [],
}


@pytest.fixture
def split(tmp_path):
    return read_voc(write_voc(tmp_path, {"VOC2007/test": OBJECTS}), need_train=False).val


def line(image, box, score=0.9):
    return f"{image} {score} " + " ".join(map(str, box))


def precisions(split, found, classes=("cat", "cow", "dog")):
    from transfer.detection.evaluation.voc import average_precisions

    return average_precisions(split, list(classes), [found.get(label, []) for label in classes])


def everything(kept=lambda found: True):
    lines = {}
    for image, objects in OBJECTS.items():
        for found in filter(kept, objects):
            lines.setdefault(found[0], []).append(line(image, found[1]))
    return lines


def test_a_perfect_detector_has_100_with_and_without_the_difficult(split):
    for found in (everything(), everything(lambda o: not o[2])):
        result = precisions(split, found)
        assert [result[name] for name in ("AP", "AP50", "AP75", "AP-cat", "AP-dog")] == pytest.approx([100] * 5)
        assert math.isnan(result["AP-cow"])  # a class without an object counts nowhere


def test_a_detector_that_finds_nothing_has_0(split):
    result = precisions(split, {})
    assert (result["AP"], result["AP50"], result["AP-cat"]) == (0, 0, 0)


def test_a_missed_object_halves_the_recall(split):
    found = {**everything(), "dog": [line("000001", (1, 1, 30, 40))]}
    # of 11 recalls, 0 to 0.5 are reached
    assert precisions(split, found)["AP-dog"] == pytest.approx(100 * 6 / 11)


def test_without_any_scored_object_nothing_is_defined(tmp_path):
    write_voc(tmp_path, {"VOC2007/test": {"1": [("dog", (1, 1, 9, 9), True)]}})
    result = precisions(read_voc(tmp_path, need_train=False).val, {"dog": [line("1", (1, 1, 9, 9))]})
    assert all(math.isnan(value) for value in result.values())


@pytest.mark.parametrize("shift", [2, 4, 5, 7, 12])
def test_a_shifted_box_has_what_pycocotools_says(tmp_path, shift):
    """One object and one detection: at each threshold the average precision is 100 or 0 by either definition."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    box = (11, 11, 41, 51)
    write_voc(tmp_path, {"VOC2007/test": {"1": [("dog", box, False)]}})
    moved = (box[0] + shift, box[1], box[2] + shift, box[3])
    ours = precisions(read_voc(tmp_path, need_train=False).val, {"dog": [line("1", moved)]}, ("dog",))

    def corners(b):
        return [b[0] - 1, b[1] - 1, b[2] - b[0] + 1, b[3] - b[1] + 1]

    truth = COCO()
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": corners(box), "area": 31 * 41, "iscrowd": 0}
    truth.dataset = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "dog"}], "annotations": [entry]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([{"image_id": 1, "category_id": 1, "bbox": corners(moved), "score": 0.9}])
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert [ours["AP"], ours["AP50"], ours["AP75"]] == pytest.approx(list(100 * evaluation.stats[:3]))


def test_the_means_are_those_of_detectron2s_evaluator(tmp_path):
    """Random detections, where every class has objects and every annotation every field."""
    import torch
    from detectron2.data import MetadataCatalog
    from detectron2.evaluation import PascalVOCDetectionEvaluator
    from detectron2.structures import Boxes, Instances

    from transfer.detection.detectron2.dataset import registered
    from transfer.detection.evaluation.voc import VocEvaluator

    whole = f"{WHOLE}<difficult>0</difficult>"
    data = read_voc(write_voc(tmp_path, {"VOC2007/test": {**OBJECTS, "000002": OBJECTS["000002"][:1]}}, whole), False)
    names = [found.name for image in data.val.images for found in image.objects]
    rng = np.random.default_rng(0)
    inputs = [{"image_id": image.name} for image in data.val.images]
    outputs = []
    for image in data.val.images:
        near = [np.array(o.box) + rng.normal(0, 3, 4) for o in image.objects for _ in range(3)] + [
            np.array([1, 1, 9, 9])
        ]
        found = Instances((64, 64), pred_boxes=Boxes(torch.tensor(np.array(near), dtype=torch.float32)))
        found.scores = torch.tensor(rng.uniform(size=len(near)))
        found.pred_classes = torch.tensor(rng.integers(0, 2, len(near)))
        outputs.append({"instances": found})
    MetadataCatalog.get("stock_voc").set(
        thing_classes=sorted(set(names)), dirname=str(tmp_path / "VOC2007"), year=2007, split="test"
    )
    with registered(data) as registered_names:
        MetadataCatalog.get(registered_names["val"][0]).thing_classes[:] = sorted(set(names))
        results = []
        for evaluator in (VocEvaluator(registered_names["val"][0]), PascalVOCDetectionEvaluator("stock_voc")):
            evaluator.reset()
            evaluator.process(inputs, outputs)
            results.append(evaluator.evaluate()["bbox"])
    MetadataCatalog.remove("stock_voc")
    ours, theirs = results
    assert 0 < theirs["AP"] < theirs["AP50"] < 100
    assert [ours[name] for name in theirs] == pytest.approx(list(theirs.values()))
