"""What a node costs, roughly: floating-point operations and bytes, before anything runs.

A multiply-accumulate is two operations, a backward pass two forward passes. The preset's ``tflops`` (of a GPU in
practice, far below a data sheet's) turns operations into hours. Images are decoded by the loader's workers and count
nothing here; where they are too few, a run takes longer.
"""

import functools
import json
from typing import Any

IMAGES = {
    "digits": 1437, "cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167, "flowers": 2_040, "pets": 3_680,
    "dtd": 3_760, "coco": 118_287, "voc": 16_551,
}  # fmt: skip
# Iterations and images an iteration, image side, and multiply-accumulates of a detector without its backbone at that
# size (docs/method.md, section 5; counted on detectron2's R-50 FPN at 800 x 1216).
DETECTION = {"coco": (90_000, 16, (800, 1216), 160e9), "voc": (24_000, 16, (800, 1066), 125e9)}
RECOGNITION_EPOCHS = 100
DETECTOR_BYTES = 20e6 * 4 * 4  # pyramid and heads: weights and momentum, in a last checkpoint and a final one


def pretraining(config: Any) -> tuple[float, float]:
    """(operations, bytes) of a pretraining: its views through the widths of a step, and the momentum network's."""
    training, data = config.training, config.data
    macs, params = backbone_cost(config.backbone, data.image_size)
    images = data.images_per_class * 10 if getattr(data, "images_per_class", None) else IMAGES.get(data.name, 50_000)
    iterations = training.iterations or training.epochs * max(1, images // training.batch_size)
    forward = 2 * macs * 2 * training.batch_size * iterations
    return forward * (3 * relative_width(config) + 1), params * 4 * (3 * 2 + 1)


def relative_width(config: Any) -> float:
    """Cost of the forward passes of an average step, in passes at full width: a pass at width w costs w squared."""
    low, high = config.width_range
    if low == high:
        return high**2
    if config.sampling.widths:  # the same ones in every iteration
        return sum(width**2 for width in config.sampling.widths)
    if config.sampling.dynamic:  # no sub-network in the first of four stages, then two down to ever smaller widths
        smallest = [high - (high - low) * stage / 3 for stage in (1, 2, 3)]
        return high**2 + sum(width**2 + mean_square(width, high) for width in smallest) / 4
    others = (config.sampling.networks or 4) - 1
    if not config.sampling.sandwich:
        return (others + 1) * mean_square(low, high)
    return high**2 + low**2 + (others - 1) * mean_square(low, high)


def mean_square(low: float, high: float) -> float:
    """Mean of w squared for a width drawn evenly between two."""
    return (low**2 + low * high + high**2) / 3


def detection(target: str, config: Any, width: float, arguments: list[str]) -> tuple[float, float]:
    """(operations, bytes) of a detector on a backbone of ``width``."""
    iterations, batch, (height, across), head = DETECTION.get(target, DETECTION["coco"])
    iterations, batch = number(arguments, "--iterations", iterations), number(arguments, "--batch", batch)
    scale = (number(arguments, "--image-size", height) / height) ** 2
    macs, params = backbone_cost(config.backbone, 224)
    image = (macs * width**2 * height * across / 224**2 + head) * scale
    return 2 * image * 3 * batch * iterations, params * width**2 * 16 + DETECTOR_BYTES


def recognition(target: str, config: Any, width: float, arguments: list[str]) -> tuple[float, float]:
    """(operations, bytes) of a linear evaluation: frozen features of every epoch's views."""
    macs, _ = backbone_cost(config.backbone, number(arguments, "--image-size", config.data.image_size))
    images, epochs = IMAGES.get(target, 50_000), number(arguments, "--epochs", RECOGNITION_EPOCHS)
    return 2 * macs * width**2 * images * epochs, 1e6


def number(arguments: list[str], option: str, default: int) -> int:
    """The value of an option in a list of arguments."""
    return int(arguments[arguments.index(option) + 1]) if option in arguments[:-1] else default


def backbone_cost(backbone: Any, image_size: int) -> tuple[int, int]:
    """(multiply-accumulates, parameters) of a backbone's full width for one image."""
    return _backbone_cost(json.dumps(backbone.arguments, sort_keys=True), image_size)


@functools.cache
def _backbone_cost(options: str, image_size: int) -> tuple[int, int]:
    import torch

    from pretrain.backbones import create_backbone
    from pretrain.plain.cost import cost

    with torch.device("meta"):
        backbone = create_backbone(**json.loads(options))
        plain = backbone.plain(backbone.channels(1.0))
    found = cost(plain, image_size)
    return found.macs, found.params
