"""A look at a detector: some validation images with their annotations on the left and what it finds on the right."""

from pathlib import Path

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from detectron2.data.detection_utils import read_image
from detectron2.structures import BoxMode, Instances, polygons_to_bitmask
from pycocotools import mask as coco_mask
from torch import nn

from transfer.detection.detectron2.loaders import ReadableImages
from transfer.detection.pictures import DOTS, Shape, picture
from transfer.plots import styled

SCORE = 0.5  # drawn are detections of at least this score
BEST = 3  # or, where there are fewer, this many of the best


@torch.no_grad()
def draw_predictions(config, model: nn.Module, folder: Path, count: int = 8) -> list[Path]:
    """Write ``folder/<image>.jpg`` for the first ``count`` validation images and return the paths."""
    recipe = config.dataloader.test
    mapper, names = ReadableImages(instantiate(recipe.mapper)), MetadataCatalog.get(recipe.dataset.names).thing_classes
    training, paths = model.training, []
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    for record in instantiate(recipe.dataset)[:count]:
        found = model([mapper(record)])[0]["instances"].to("cpu")
        order = found.scores.argsort(descending=True)
        sure = int((found.scores >= SCORE).sum())
        image = read_image(record["file_name"], "RGB")
        paths.append(folder / f"{Path(record['file_name']).stem}.jpg")
        drawn = f"score from {100 * SCORE:.0f} %" if sure >= BEST else f"the best {BEST}"
        titles = f"annotations of {Path(record['file_name']).name}", f"detections, {drawn}"
        with styled(paths[-1].stem):
            shapes = annotated(record, *image.shape[:2]), detected(found[order[: max(BEST, sure)]])
            picture(image, *shapes, names, titles).savefig(paths[-1], dpi=DOTS, pil_kwargs={"quality": 90})
    model.train(training)
    return paths


def annotated(record: dict, height: int, width: int) -> list[Shape]:
    """The objects of one of detectron2's records; what is given as polygons or run-length encoded has a mask."""
    shapes = []
    for item in record["annotations"]:
        outline, mask = item.get("segmentation"), None
        if isinstance(outline, dict):
            mask = coco_mask.decode(outline).astype(bool)
        elif outline:
            mask = polygons_to_bitmask([np.asarray(polygon) for polygon in outline], height, width)
        box = BoxMode.convert(item["bbox"], item["bbox_mode"], BoxMode.XYXY_ABS)
        shapes.append(Shape(box, item["category_id"], mask))
    return shapes


def detected(found: Instances) -> list[Shape]:
    """What a model found, in its order."""
    masks = found.pred_masks.numpy() if found.has("pred_masks") else [None] * len(found)
    rows = zip(found.pred_boxes.tensor.tolist(), found.pred_classes.tolist(), masks, found.scores.tolist())
    return [Shape(box, label, mask, score) for box, label, mask, score in rows]
