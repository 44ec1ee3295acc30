"""All widths in one pass of protocol ``fast``, beside a run of protocol ``paper`` for each width.

The pass of ``fast`` is measured from the image files to the results: calibration of all widths, features of every
view, kNN and the linear probe; nothing is cached. The runs of ``paper`` are estimated. Each stands for a program
started for one width: it decodes the training images once, calibrates by three epochs as the released program does,
trains the head for the recipe's epochs and is tested. Decoding and test are timed in full, of an epoch of calibration
and of one of training a part (``--share``), which is scaled up. Both protocols are the program's own, with views made a
batch at a time, without worker processes. The parts are timed before and after the fast pass and averaged, so that
a machine that becomes slower does so for both. Processor seconds leave out what other programs took meanwhile.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress
from torch import nn

from benchmark.machine import machine, timed
from pretrain.common.cli import widths_argument
from pretrain.common.errors import UserError, nearest
from pretrain.common.feature_cache import FeatureCache
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.calibration import CalibrationBatches
from pretrain.slimmable.calibrate import calibrate
from pretrain.slimmable.widths import NINE_WIDTHS
from transfer.recognition.evaluate import calibration_images, evaluate, prepare
from transfer.recognition.images import Images, train_augmentation
from transfer.recognition.protocols import Evaluation, tested, trained
from transfer.recognition.settings import RecognitionSettings
from transfer.recognition.sgd import LinearSettings, check_optimizer, linear_settings
from transfer.recognition.targets import find_root, load_splits
from transfer.source import Source, find_checkpoint, load_source
from transfer.targets import targets_of

EXAMPLE = "--checkpoint runs/us3l_resnet18_cifar10 --data datasets/cifar10 --threads 1"
CALIBRATION_EPOCHS = 3  # of the released program, for each width that it evaluates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, help="universal checkpoint (default: the newest below runs/)")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="as of tools/transfer.py")
    parser.add_argument("--dataset", default="cifar10", metavar="NAME", help="a target of tools/transfer.py")
    widths_argument(parser, NINE_WIDTHS)
    parser.add_argument("--share", type=float, default=0.1, help="of an epoch that is timed (default: 0.1)")


def measure(args: argparse.Namespace) -> dict:
    """Seconds of the fast pass, measured, and of the paper's runs, estimated; see the module.

    Errors: UserError for an unknown data set, a share outside (0, 1], and what ``tools/transfer.py`` refuses.
    """
    if args.dataset not in targets_of("recognition"):
        raise UserError(f"unknown data set '{args.dataset}'{nearest(args.dataset, targets_of('recognition'))}")
    if not 0 < args.share <= 1:
        raise UserError(f"--share {args.share:g} is no part of an epoch; expected a number in (0, 1]")
    checkpoint, root = find_checkpoint(args.checkpoint), find_root(args.dataset, args.data)
    widths = sorted(set(args.widths), reverse=True)
    before = runs_of_paper(checkpoint, args, root, widths)
    fast = spent(lambda: pass_of_fast(checkpoint, args, root, widths), args.device)
    after = runs_of_paper(checkpoint, args, root, widths)
    parts = {w: {name: (before[w][name] + after[w][name]) / 2 for name in before[w]} for w in widths}
    paper = sum(sum(part.values()) for part in parts.values())
    return {
        "title": f"Linear evaluation of {len(widths)} widths on {args.dataset}",
        "rows": [row("fast, one pass", fast, fast), row("paper, a run for each width", paper, fast)],
        "processor_seconds_of_paper": {f"{w:g}": float(sum(part.values())[1]) for w, part in parts.items()},
        "percent_of_them": {
            name: float(100 * sum(part[name] for part in parts.values())[1] / paper[1]) for name in parts[widths[0]]
        },
        "measured": "the pass of fast; of paper decoding and the test",
        "estimated": f"of paper calibration ({CALIBRATION_EPOCHS} epochs) and training "
        f"({linear_settings_of(checkpoint, args).epochs}), from {args.share:g} of an epoch of each, "
        "before and after fast",
        **machine(args.device),
    }


def spent(call: Callable[[], object], device: str) -> np.ndarray:
    """[2]: seconds of one call, waited for, and seconds that the processors worked on it (of all threads)."""
    before = time.process_time()
    seconds = timed(call, device)
    return np.array([seconds, time.process_time() - before])


def row(arrangement: str, cost: np.ndarray, fast: np.ndarray) -> dict:
    """cost, fast: as ``spent`` gives them."""
    return {
        "arrangement": arrangement, "seconds": float(cost[0]), "ratio": float(cost[0] / fast[0]),
        "processor_seconds": float(cost[1]), "their_ratio": float(cost[1] / fast[1]),
    }  # fmt: skip


def linear_settings_of(checkpoint: Path, args: argparse.Namespace) -> LinearSettings:
    """The paper's, for the data set and the checkpoint's backbone."""
    return linear_settings(args.dataset, load_source(checkpoint).backbone)


def pass_of_fast(checkpoint: Path, args: argparse.Namespace, root: Path | None, widths: list[float]) -> None:
    """What ``tools/transfer.py --protocol fast --calibrate --no-cache`` does; its results are dropped."""
    with tempfile.TemporaryDirectory() as output, redirect_stdout(StringIO()):
        evaluate(
            load_source(checkpoint), args.dataset, root, widths, Path(output), RecognitionSettings("fast", workers=0),
            calibrate=True, device=args.device, progress=False,
        )  # fmt: skip


def runs_of_paper(
    checkpoint: Path, args: argparse.Namespace, root: Path | None, widths: list[float]
) -> dict[float, dict[str, np.ndarray]]:
    """What ``tools/transfer.py --protocol paper --calibrate`` takes at each width, by its parts, as ``spent``."""
    linear = linear_settings_of(checkpoint, args)
    check_optimizer(linear)
    image_size = load_source(checkpoint).metadata["data"]["image_size"]
    settings = RecognitionSettings("paper", image_size=image_size, workers=0)
    train, test = load_splits(args.dataset, root, image_size)
    parts = {"decoding": spent(train.decode, args.device)}
    found = {}
    for width in widths:
        source = load_source(checkpoint)
        source.net.to(args.device)
        views = train_augmentation(args.dataset, image_size, source.metadata)
        calibration = seconds_of_calibration(source, train, views, settings, width, args)
        cache = FeatureCache(None)
        with Progress(disable=True) as bar:
            shared = prepare(source, [width], train, test, views, settings, linear, cache, args.device, bar)
            found[width] = {**parts, "calibration": calibration, **seconds_of_heads(shared, args)}
    return found


def seconds_of_calibration(
    source: Source,
    train: Images,
    views: Augmentation,
    settings: RecognitionSettings,
    width: float,
    args: argparse.Namespace,
) -> np.ndarray:
    """What all epochs of calibration take, from a part of one. ``source`` is calibrated at ``width`` afterwards."""
    net = source.net

    def batches(count: int) -> CalibrationBatches:
        return calibration_images(train, views, replace(settings, calibration_batches=count), source.metadata)

    net.calibrate(batches(1), [width])  # warm-up: kernels are chosen at the first batch
    per_epoch = batches(len(train)).count
    some = batches(max(1, round(args.share * per_epoch)))
    images = (batch.to(args.device) for batch in some)
    cost = spent(lambda: calibrate(net.backbone, images, [width]), args.device)
    return CALIBRATION_EPOCHS * cost * per_epoch / some.count


def seconds_of_heads(shared: Evaluation, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """What all epochs of training take, from a part of one, and of the test."""
    per_epoch = -(-len(shared.train) // shared.linear.batch)
    steps = max(1, round(args.share * per_epoch))

    def train(count: int) -> dict[float, nn.Linear]:
        return trained(
            shared,
            replace(shared.linear, epochs=1),
            lambda e: islice(shared.augmented_batches(e, shared.linear.batch), count),
        )

    heads = train(1)  # warm-up
    cost = spent(lambda: train(steps), args.device)
    return {
        "training": shared.linear.epochs * cost * per_epoch / steps,
        "test": spent(lambda: tested(shared, heads), args.device),
    }
