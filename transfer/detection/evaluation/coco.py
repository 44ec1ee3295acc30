"""COCO's average precision of boxes and masks by pycocotools, in the form in which detectron2's COCOEvaluator gives it.

The same program computes both, so that the figures of two frameworks differ by their detectors alone.
"""

import contextlib
import io
import logging
import math
from pathlib import Path

import numpy as np

from transfer.detection.evaluation.metrics import TASKS
from transfer.targets import COCO_PRECISIONS


def average_precisions(
    annotations: Path, found: list[dict], log: logging.Logger, masks: bool = True
) -> dict[str, dict[str, float]]:
    """``{"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-<class>", ...}, "segm": ...}`` in percent.

    annotations: COCO's JSON file. found: detections as in COCO's result files (``image_id``, ``category_id``, ``bbox``
    as [x, y, width, height], ``score``, ``segmentation`` with compressed run lengths). NaN where nothing is defined:
    no object (of that size), or nothing found at all, when pycocotools gives up. log: takes what pycocotools prints.
    masks: whether to evaluate them.
    """
    from pycocotools.coco import COCO

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        truth = COCO(str(annotations))
        results = {task: task_precisions(truth, found, task) for task in TASKS if masks or task != "segm"}
    log.info("pycocotools:\n%s", printed.getvalue())
    return results


def task_precisions(truth, found: list[dict], task: str) -> dict[str, float]:
    """One task's precisions; ``truth``: a ``pycocotools.coco.COCO``."""
    from pycocotools.cocoeval import COCOeval

    if not found:
        return dict.fromkeys(COCO_PRECISIONS, math.nan)
    # With a box pycocotools would take an object's size from that, and not from its mask.
    hidden = {"segm": ("bbox",), "bbox": ("segmentation",)}[task]
    entries = [{key: value for key, value in entry.items() if key not in hidden} for entry in found]
    evaluation = COCOeval(truth, truth.loadRes(entries), task)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    values = [100 * value if value >= 0 else math.nan for value in map(float, evaluation.stats[:6])]
    classes = {}
    for i, category in enumerate(evaluation.params.catIds):
        curve = evaluation.eval["precision"][:, :, i, 0, -1]  # all sizes, most detections
        valid = curve[curve > -1]
        name = truth.loadCats([category])[0]["name"]
        classes[f"AP-{name}"] = 100 * float(np.mean(valid)) if valid.size else math.nan
    return {**dict(zip(COCO_PRECISIONS, values, strict=True)), **classes}
