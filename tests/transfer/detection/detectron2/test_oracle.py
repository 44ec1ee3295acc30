"""Through loader, evaluator and result: a model that answers with the annotations has 100, a shifted one less."""

import contextlib
import io
import json

import pytest
import torch

from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, write_voc
from transfer.detection.detect import detect
from transfer.detection.detectron2.recipe import FOLDER
from transfer.detection.settings import DetectionSettings
from transfer.targets import TARGETS

pytestmark = requires("detection")


class Oracle(torch.nn.Module):
    """Answers with the annotations, its boxes ``shift`` pixels to the right."""

    def __init__(self, records, shift=0.0):
        super().__init__()
        self.annotations = {record["image_id"]: record["annotations"] for record in records}
        self.shift = shift

    def forward(self, inputs):
        return [{"instances": self.answer(x, self.annotations[x["image_id"]])} for x in inputs]

    def answer(self, x, annotations):
        from detectron2.structures import Boxes, BoxMode, Instances

        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
        boxes = torch.tensor(boxes).reshape(-1, 4) + torch.tensor([self.shift, 0, self.shift, 0])
        found = Instances((x["height"], x["width"]), pred_boxes=Boxes(boxes), scores=torch.ones(len(boxes)))
        found.pred_classes = torch.tensor([a["category_id"] for a in annotations], dtype=torch.long)
        if annotations and "segmentation" in annotations[0]:
            from pycocotools import mask

            masks = [torch.from_numpy(mask.decode(a["segmentation"]).astype(bool)) for a in annotations]
            found.pred_masks = torch.stack(masks)
        return found


@pytest.fixture
def answered(monkeypatch, source, tmp_path):
    """Settings, shift -> the record of a detector that answers with the annotations."""
    from detectron2.data import DatasetCatalog

    from transfer.detection.detectron2 import training
    from transfer.detection.detectron2.dataset import registered

    def run(settings, shift=0.0):
        data = TARGETS[settings.target].reader.read(settings.data).prepared(tmp_path, write=True)
        with registered(data) as names:
            oracle = Oracle(DatasetCatalog.get(names["val"][0]), shift)
        evaluate = training.evaluate
        monkeypatch.setattr(training, "evaluate", lambda config, model: evaluate(config, oracle))
        return detect(source, 0.5, settings, tmp_path / "runs")

    return run


def test_annotations_of_coco_have_100(answered, settings):
    metrics = answered(settings)["metrics"]
    for name in ("box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75"):
        assert metrics[name] == pytest.approx(100.0)
    assert metrics["box/APl"] is None  # a canvas of 64 pixels has no object of 96


def test_shifted_boxes_have_what_pycocotools_says(answered, settings):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    record = answered(settings, shift=6.0)
    path = settings.data / "annotations/instances_val2017.json"
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        moved = [
            {**{key: a[key] for key in ("image_id", "category_id")}, "score": 1.0,
             "bbox": [a["bbox"][0] + 6, *a["bbox"][1:]]}
            for a in json.loads(path.read_text())["annotations"]
        ]  # fmt: skip
        evaluation = COCOeval(truth, truth.loadRes(moved), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found = [record["metrics"][f"box/{name}"] for name in ("AP", "AP50", "AP75")]
    assert found == pytest.approx(list(100 * evaluation.stats[:3])) and 0 < found[0] < 100
    assert record["metrics"]["mask/AP"] == pytest.approx(100)


def test_annotations_of_voc_have_100_and_no_masks(answered, tmp_path):
    data = write_voc(tmp_path / "photos", TWO_YEARS)  # without pose, truncated and, mostly, difficult
    settings = DetectionSettings("voc", FOLDER / "faster_rcnn_fpn_small.py", data, 1, 64, 2, device="cpu")
    record = answered(settings)
    assert record["metrics"] == {
        "box/AP": pytest.approx(100),
        "box/AP50": pytest.approx(100),
        "box/AP75": pytest.approx(100),
    }
    classes = record["details"]["per_class_AP"]["box"]
    assert (record["dataset"], classes["cat"], classes["dog"]) == ("photos", pytest.approx(100), None)
    assert "masks" not in record["details"]["detector"]["parts"]
