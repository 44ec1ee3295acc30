"""VOC's average precision per class and over IoU thresholds, computed by detectron2's functions.

``PascalVOCDetectionEvaluator`` gives the mean over all classes alone, counts a class without objects as 0 and cannot
read annotations without ``pose`` and ``truncated``. Where every class has objects and every field is there, the means
here are its own. Difficult objects are neither to be found nor counted as false positives. Average precision is VOC
2007's, over 11 recalls, as detectron2 computes it for the 2007 test set.
"""

import logging
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.evaluation.pascal_voc_evaluation import parse_rec, voc_eval
from detectron2.utils import comm

from transfer.detection.data.voc import CORNERS, VocImage, VocSplit

THRESHOLDS = range(50, 100, 5)
log = logging.getLogger("detectron2.transfer")


class VocEvaluator(DatasetEvaluator):
    """Results: ``{"bbox": {"AP", "AP50", "AP75", "AP-<class>", ...}}`` in percent, NaN for a class without objects.

    dataset_name: registered by ``transfer.detection.detectron2.dataset``.
    """

    def __init__(self, dataset_name: str):
        metadata = MetadataCatalog.get(dataset_name)
        self.classes: list[str] = metadata.thing_classes
        self.split: VocSplit = metadata.split
        self.lines: dict[int, list[str]] = defaultdict(list)

    def reset(self) -> None:
        self.lines = defaultdict(list)

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Collect detections as the lines of VOC's result files, corners counted from 1."""
        for given, output in zip(inputs, outputs, strict=True):
            found = output["instances"].to(torch.device("cpu"))
            corners = found.pred_boxes.tensor + torch.tensor([1.0, 1.0, 0.0, 0.0])
            for box, score, label in zip(
                corners.tolist(), found.scores.tolist(), found.pred_classes.tolist(), strict=True
            ):
                line = f"{given['image_id']} {score:.3f} " + " ".join(f"{value:.1f}" for value in box)
                self.lines[label].append(line)

    def evaluate(self) -> dict | None:
        """Called by all processes; the results are the main one's."""
        gathered = comm.gather(dict(self.lines), dst=0)
        if not comm.is_main_process():
            return None
        lines = [[line for part in gathered for line in part.get(i, [])] for i in range(len(self.classes))]
        return {"bbox": average_precisions(self.split, self.classes, lines)}


def average_precisions(split: VocSplit, classes: list[str], lines: list[list[str]]) -> dict[str, float]:
    """AP (mean over ten thresholds), AP50, AP75 and AP of each class, in percent. lines: detections of each class."""
    scored = {o.name for image in split.images for o in image.objects if not o.difficult}
    table: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="voc_") as name:
        folder = Path(name)
        for image in split.images:
            write_annotation(image, folder / f"{image.name}.xml")
        (folder / "images.txt").write_text("\n".join(image.name for image in split.images))
        for found, label in zip(lines, classes, strict=True):
            if label in scored:
                (folder / "found.txt").write_text("\n".join(found))
                table[label] = (
                    [100 * class_precision(folder, label, t / 100) for t in THRESHOLDS] if found else [0.0] * 10
                )
    parse_rec.cache_clear()  # detectron2 keeps every file that it has parsed, and these are gone
    means = torch.tensor(list(table.values()), dtype=torch.float64).mean(0) if table else torch.full((10,), torch.nan)
    by_class = {f"AP-{label}": sum(table[label]) / 10 if label in table else float("nan") for label in classes}
    return {"AP": float(means.mean()), "AP50": float(means[0]), "AP75": float(means[5]), **by_class}


def class_precision(folder: Path, label: str, threshold: float) -> float:
    """Average precision in 0 to 1 of the detections in ``folder/found.txt``."""
    template, images = str(folder / "{}.xml"), str(folder / "images.txt")
    return float(voc_eval(str(folder / "found.txt"), template, images, label, threshold, use_07_metric=True)[2])


def write_annotation(image: VocImage, path: Path) -> None:
    """The annotation with every field that detectron2 reads; corners as whole pixels."""
    root = Element("annotation")
    for found in image.objects:
        entry = SubElement(root, "object")
        fields = {"name": found.name, "pose": "Unspecified", "truncated": "0", "difficult": str(int(found.difficult))}
        for field, text in fields.items():
            SubElement(entry, field).text = text
        box = SubElement(entry, "bndbox")
        for corner, value in zip(CORNERS, found.box, strict=True):
            SubElement(box, corner).text = str(round(value))
    ElementTree(root).write(path)
