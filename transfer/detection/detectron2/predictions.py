"""A look at a detector: some validation images with their annotations on the left and what it finds on the right."""

from pathlib import Path

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from detectron2.data.detection_utils import read_image
from detectron2.utils.visualizer import Visualizer
from PIL import Image
from torch import nn

from transfer.detection.detectron2.loaders import ReadableImages

SCORE = 0.5  # drawn are detections of at least this score
BEST = 3  # or, where there are fewer, this many of the best


@torch.no_grad()
def draw_predictions(config, model: nn.Module, folder: Path, count: int = 8) -> list[Path]:
    """Write ``folder/<image>.jpg`` for the first ``count`` validation images and return the paths."""
    recipe = config.dataloader.test
    mapper, metadata = ReadableImages(instantiate(recipe.mapper)), MetadataCatalog.get(recipe.dataset.names)
    training, paths = model.training, []
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    for record in instantiate(recipe.dataset)[:count]:
        found = model([mapper(record)])[0]["instances"].to("cpu")
        order = found.scores.argsort(descending=True)
        kept = order[: max(BEST, int((found.scores >= SCORE).sum()))]
        image = read_image(record["file_name"], "RGB")
        truth = Visualizer(image, metadata).draw_dataset_dict(record).get_image()
        prediction = Visualizer(image, metadata).draw_instance_predictions(found[kept]).get_image()
        paths.append(folder / f"{Path(record['file_name']).stem}.jpg")
        Image.fromarray(np.hstack([truth, prediction])).save(paths[-1], quality=90)
    model.train(training)
    return paths
