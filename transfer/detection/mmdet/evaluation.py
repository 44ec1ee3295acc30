"""mmdet's detections in the common form of COCO's or VOC's result files, evaluated as detectron2's are."""

from collections.abc import Sequence

from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from transfer.detection.data import Data
from transfer.detection.data.coco import CocoData
from transfer.detection.data.voc import VocData
from transfer.detection.evaluation import coco as coco_evaluation
from transfer.detection.evaluation.metrics import flat_metrics


@METRICS.register_module()
class CommonEvaluation(BaseMetric):
    """COCO's or VOC's average precisions, by the target of ``data``.

    ``found``: after an evaluation, in the main process, ``{"bbox": {"AP", ..., "AP-<class>"}, "segm": ...}`` in
    percent. data: the checked data set.
    """

    default_prefix = "val"

    def __init__(self, data: Data):
        super().__init__()
        coco = isinstance(data, CocoData)
        self.data, self.categories = data, [number for number, _ in data.categories] if coco else list(data.classes)
        self.found: dict[str, dict[str, float]] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the detections of each image. data_samples: of mmdet, with ``pred_instances``."""
        for sample in data_samples:
            self.results.append(detections(sample, self.categories))

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Called by the main process with the detections of all."""
        entries = [entry for image in results for entry in image]
        if isinstance(self.data, CocoData):
            self.found = coco_evaluation.average_precisions(
                self.data.val.annotations, entries, MMLogger.get_current_instance(), self.data.has_masks
            )
            metrics = flat_metrics(self.found, self.data.object_areas, "coco", self.data.has_masks)
        else:
            self.found = {"bbox": voc_precisions(self.data, entries)}
            metrics = flat_metrics(self.found, self.data.object_areas, "voc")
        return {name: value for name, value in metrics.items() if value is not None}


def detections(sample: dict, categories: list) -> list[dict]:
    """One image's entries as in COCO's result files. ``bbox`` is [x, y, width, height] in pixels of the file."""
    found = sample["pred_instances"]
    boxes, scores, labels = (found[key].cpu() for key in ("bboxes", "scores", "labels"))
    corners = boxes.clone()
    corners[:, 2:] -= corners[:, :2]
    entries = [
        {"image_id": sample["img_id"], "category_id": categories[label], "bbox": box, "score": score}
        for box, score, label in zip(corners.tolist(), scores.tolist(), labels.tolist(), strict=True)
    ]
    if "masks" in found:
        for entry, mask in zip(entries, encode_mask_results(found["masks"].cpu().numpy()), strict=True):
            entry["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}
    return entries


def voc_precisions(data: VocData, entries: list[dict]) -> dict[str, float]:
    """VOC's precisions by the functions that evaluate detectron2's detections.

    mmdet's boxes count pixels from 0 and end at the last one, so 1 is added to all four corners.
    """
    from transfer.detection.evaluation.voc import average_precisions

    lines: dict[str, list[str]] = {name: [] for name in data.classes}
    for entry in entries:
        x, y, width, height = entry["bbox"]
        corners = " ".join(f"{value + 1:.1f}" for value in (x, y, x + width, y + height))
        lines[entry["category_id"]].append(f"{entry['image_id']} {entry['score']:.3f} {corners}")
    return average_precisions(data.val, list(data.classes), list(lines.values()))
