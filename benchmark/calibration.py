"""Calibration of all widths from one pass over the data, beside a pass for each width.

A pass decodes (with --data) and augments the images of every batch and runs each width on them. The arrangements take
turns; both are the program's own, so that only the number of passes differs.
"""

import argparse
import statistics
from pathlib import Path

import torch
from torch.utils.data import Dataset

from benchmark.machine import machine, timed
from pretrain.backbones import create_backbone
from pretrain.common.cli import check_least, widths_argument
from pretrain.data.calibration import CalibrationBatches
from pretrain.data.images.datasets import image_dataset
from pretrain.sections import LINEAR_EVALUATION
from pretrain.slimmable.calibrate import LayerMoments, calibrate
from pretrain.slimmable.widths import NINE_WIDTHS, check_width

EXAMPLE = "--data datasets/cifar10 --base-channels 16 --batches 8"
MEAN = STD = [0.5] * 3  # of no consequence for the time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="resnet18", help="(default: resnet18)")
    parser.add_argument("--stem", help="of ResNets and MobileNetV2 (default: cifar for these)")
    parser.add_argument("--base-channels", type=int, metavar="C", help="channels of the first stage at width 1")
    parser.add_argument("--image-size", type=int, default=32, metavar="S", help="px (default: 32)")
    parser.add_argument("--batch", type=int, default=128, metavar="B", help="images in a batch (default: 128)")
    parser.add_argument("--batches", type=int, default=8, metavar="N", help="in a pass (default: 8)")
    widths_argument(parser, NINE_WIDTHS)
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of which medians are taken (default: 3)")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder with train/<class>/ (default: digits)")


def measure(args: argparse.Namespace) -> dict:
    """Seconds of both arrangements and the largest difference of their statistics; see the module.

    Errors: UserError for a count below 1, a width out of range, a backbone or data that are not there.
    """
    check_least(args, image_size=1, batch=1, batches=1, repeats=1)
    widths = [check_width(width) for width in args.widths]
    backbone = network(args).to(args.device).eval()
    dataset = image_dataset("folder" if args.data else "digits", args.data, image_size=args.image_size)
    found: dict[str, dict[str, LayerMoments]] = {}

    def together() -> None:
        found["together"] = one_pass(backbone, dataset, args, widths)

    def one_by_one() -> None:
        found["one by one"] = {}
        for width in widths:
            found["one by one"] |= one_pass(backbone, dataset, args, [width])

    together()  # warm-up: the first pass reads files and allocates
    seconds = [(timed(together, args.device), timed(one_by_one, args.device)) for _ in range(args.repeats)]
    one, each = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {
        "title": f"Calibration of {len(widths)} widths of {args.backbone}, {args.batches} batches of {args.batch}",
        "rows": [
            {"arrangement": "one pass for all widths", "seconds": one, "ratio": 1.0},
            {"arrangement": "a pass for each width", "seconds": each, "ratio": each / one},
        ],
        "largest_difference_of_statistics": largest_difference(*found.values()),
        "widths": widths, "image_size": args.image_size, "repeats": args.repeats,
        "data": "digits" if args.data is None else "image files", **machine(args.device),
    }  # fmt: skip


def network(args: argparse.Namespace) -> torch.nn.Module:
    """The slimmable backbone that the options describe, with weights of seed 0."""
    stem = args.stem or (None if args.backbone.startswith("vit") else "cifar")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_backbone(args.backbone, stem, base_channels=args.base_channels)


def one_pass(
    backbone: torch.nn.Module, dataset: Dataset, args: argparse.Namespace, widths: list[float]
) -> dict[str, LayerMoments]:
    """Statistics of ``widths`` from one pass over the data, from the files on."""
    batches = CalibrationBatches(dataset, LINEAR_EVALUATION, args.image_size, args.batch, args.batches, 0, MEAN, STD)
    return calibrate(backbone, (images.to(args.device) for images in batches), widths)


def largest_difference(one: dict[str, LayerMoments], other: dict[str, LayerMoments]) -> float:
    """Largest difference of any mean or variance of two calibrations of the same widths."""
    return max(
        float((a - b).abs().max())
        for key, layers in one.items()
        for name in layers
        for a, b in zip(layers[name], other[key][name], strict=True)
    )
