"""What a node costs, roughly: floating-point operations and bytes, before anything runs.

A multiply-accumulate is two operations, a backward pass two forward passes. The preset's ``tflops`` (of a GPU in
practice, far below a data sheet's) turns operations into hours. Images are decoded by the loader's workers and count
nothing here; where they are too few, a run takes longer.
"""

import argparse
import functools
import json

from pretrain.config import PretrainConfig
from pretrain.sampling import WidthSampler
from pretrain.sections import BackboneSettings
from transfer.targets import PROTOCOLS, TARGETS

UNKNOWN_IMAGES = 50_000  # of a data set that is no target
DETECTOR_BYTES = 20e6 * 4 * 4  # pyramid and heads: weights and momentum, in a last checkpoint and a final one
SAMPLES = 256  # iterations whose widths stand for all


def pretraining(config: PretrainConfig) -> tuple[float, float]:
    """(operations, bytes) of a pretraining: as of two views and a momentum encoder."""
    macs, params = full_cost(config.backbone, config.data.image_size)
    steps = iterations(config)
    forward = 2 * macs * 2 * config.training.batch_size * steps
    calibration = config.calibration
    calibrated = sum(width**2 for width in config.calibrated_widths) * calibration.batches * calibration.batch_size
    return forward * (3 * relative_width(config) + 1) + 2 * macs * calibrated, params * 4 * (3 * 2 + 1)


def iterations(config: PretrainConfig) -> int:
    """Iterations of a pretraining, by the number of images that its data set usually has."""
    training, data = config.training, config.data
    images = data.images_per_class * 10 if data.images_per_class else images_of(data.name)
    return training.iterations or training.epochs * max(1, images // training.batch_size)


def relative_width(config: PretrainConfig) -> float:
    """Cost of the forward passes of an average step, in passes at full width: a pass at width w costs w squared."""
    total = iterations(config)
    sampler = WidthSampler.of(config, _meta_backbone(json.dumps(config.backbone.arguments, sort_keys=True)), total)
    steps = range(0, total, max(1, total // SAMPLES))
    return sum(width**2 for step in steps for width in sampler.widths(step)) / len(steps)


def detection(config: PretrainConfig, width: float, said: argparse.Namespace) -> tuple[float, float]:
    """(operations, bytes) of a detector on a backbone of ``width``. said: the options of ``tools/transfer.py``."""
    usual = TARGETS[said.target].training
    batch, (height, across) = said.batch or usual.batch, usual.image_size
    steps = said.iterations or usual.iterations * usual.batch / batch
    scale = ((said.image_size or height) / height) ** 2
    macs, params = full_cost(config.backbone, 224)
    image = (macs * width**2 * height * across / 224**2 + usual.head_macs) * scale
    return 2 * image * 3 * batch * steps, params * width**2 * 16 + DETECTOR_BYTES


def recognition(config: PretrainConfig, width: float, said: argparse.Namespace) -> tuple[float, float]:
    """(operations, bytes) of an evaluation by the protocol: of every pass over the training images."""
    settings, protocol = said.settings, PROTOCOLS[said.settings.protocol]
    macs, _ = full_cost(config.backbone, settings.image_size or config.data.image_size)
    passes = settings.epochs if protocol.anew and settings.epochs else protocol.passes
    return 2 * macs * width**2 * images_of(said.target) * passes * protocol.pass_cost, 1e6


def images_of(name: str) -> int:
    """Training images of a data set."""
    return TARGETS[name].images if name in TARGETS else UNKNOWN_IMAGES


def full_cost(backbone: BackboneSettings, image_size: int) -> tuple[int, int]:
    """(multiply-accumulates, parameters) of a backbone's full width for one image."""
    return _full_cost(json.dumps(backbone.arguments, sort_keys=True), image_size)


@functools.cache
def _full_cost(options: str, image_size: int) -> tuple[int, int]:
    from pretrain.universal import backbone_cost

    found = backbone_cost(_meta_backbone(options), 1.0, image_size)
    return found.macs, found.params


@functools.cache
def _meta_backbone(options: str):
    """The backbone without its weights."""
    from pretrain.backbones import create_backbone
    from pretrain.common.shapes import shapes_only

    with shapes_only():
        return create_backbone(**json.loads(options))
