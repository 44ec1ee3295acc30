"""What a node costs, roughly: floating-point operations and bytes, before anything runs.

A multiply-accumulate is two operations, a backward pass two forward passes. The preset's ``tflops`` (of a GPU in
practice, far below a data sheet's) turns operations into hours. Images are decoded by the loader's workers and count
nothing here; where they are too few, a run takes longer.
"""

import argparse
import functools
import json

from pretrain.config import Backbone, PretrainConfig
from pretrain.sampling import WidthSampler

IMAGES = {
    "digits": 1437, "cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167, "flowers": 2_040, "pets": 3_680,
    "dtd": 3_760, "coco": 118_287, "voc": 16_551,
}  # fmt: skip
# Iterations and images an iteration, image side, and multiply-accumulates of a detector without its backbone at that
# size (docs/method.md, section 5; counted on detectron2's R-50 FPN at 800 x 1216).
DETECTION = {"coco": (90_000, 16, (800, 1216), 160e9), "voc": (24_000, 16, (800, 1066), 125e9)}
# Passes over the training images: every epoch of the paper's protocol sees them anew, the others keep features.
PASSES = {"paper": 100, "fast": 5, "knn": 1}
DETECTOR_BYTES = 20e6 * 4 * 4  # pyramid and heads: weights and momentum, in a last checkpoint and a final one
SAMPLES = 256  # iterations whose widths stand for all


def pretraining(config: PretrainConfig) -> tuple[float, float]:
    """(operations, bytes) of a pretraining: its views through the widths of a step, and the momentum network's."""
    macs, params = backbone_cost(config.backbone, config.data.image_size)
    steps = iterations(config)
    forward = 2 * macs * 2 * config.training.batch_size * steps
    calibration = config.calibration
    calibrated = sum(width**2 for width in config.calibrated_widths) * calibration.batches * calibration.batch_size
    return forward * (3 * relative_width(config) + 1) + 2 * macs * calibrated, params * 4 * (3 * 2 + 1)


def iterations(config: PretrainConfig) -> int:
    """Of a pretraining, by the number of images that its data set usually has."""
    training, data = config.training, config.data
    images = data.images_per_class * 10 if data.images_per_class else IMAGES.get(data.name, 50_000)
    return training.iterations or training.epochs * max(1, images // training.batch_size)


def relative_width(config: PretrainConfig) -> float:
    """Cost of the forward passes of an average step, in passes at full width: a pass at width w costs w squared."""
    total = iterations(config)
    sampler = WidthSampler.of(config, _meta_backbone(json.dumps(config.backbone.arguments, sort_keys=True)), total)
    steps = range(0, total, max(1, total // SAMPLES))
    return sum(width**2 for step in steps for width in sampler.widths(step)) / len(steps)


def detection(config: PretrainConfig, width: float, said: argparse.Namespace) -> tuple[float, float]:
    """(operations, bytes) of a detector on a backbone of ``width``. said: the options of ``tools/transfer.py``."""
    steps, batch, (height, across), head = DETECTION[said.target]
    steps, batch = said.iterations or steps * batch / (said.batch or batch), said.batch or batch
    scale = ((said.image_size or height) / height) ** 2
    macs, params = backbone_cost(config.backbone, 224)
    image = (macs * width**2 * height * across / 224**2 + head) * scale
    return 2 * image * 3 * batch * steps, params * width**2 * 16 + DETECTOR_BYTES


def recognition(config: PretrainConfig, width: float, said: argparse.Namespace) -> tuple[float, float]:
    """(operations, bytes) of a linear evaluation: frozen features of every pass over the images."""
    settings = said.settings
    macs, _ = backbone_cost(config.backbone, settings.image_size or config.data.image_size)
    epochs = settings.epochs if settings.protocol == "paper" else None
    passes = epochs or PASSES[settings.protocol]
    return 2 * macs * width**2 * IMAGES.get(said.target, 50_000) * passes, 1e6


def backbone_cost(backbone: Backbone, image_size: int) -> tuple[int, int]:
    """(multiply-accumulates, parameters) of a backbone's full width for one image."""
    return _backbone_cost(json.dumps(backbone.arguments, sort_keys=True), image_size)


@functools.cache
def _backbone_cost(options: str, image_size: int) -> tuple[int, int]:
    import torch

    from pretrain.plain.cost import cost

    backbone = _meta_backbone(options)
    with torch.device("meta"):
        plain = backbone.plain(backbone.channels(1.0))
    found = cost(plain, image_size)
    return found.macs, found.params


@functools.cache
def _meta_backbone(options: str):
    """The backbone without its weights."""
    import torch

    from pretrain.backbones import create_backbone

    with torch.device("meta"):
        return create_backbone(**json.loads(options))
