"""The confidence cascade: accuracy against mean latency, beside the widths that answer alone.

A linear head is trained for every width on frozen features of training images, as by the fast protocol. Then the
test images come one by one, and every width takes its turn at each. The narrow network's answer stands where its
largest probability reaches the confidence, else the wide one is asked as well: a cascade's mean latency is that
of the narrow width plus the share of images that were asked twice times that of the wide one. A width's latency is the
10th percentile over the images, which other work on the machine hardly moves. Some confidences
are also run as a device runs them (``UniversalRuntime.cascade``), in turn with the widths: ``of_expected`` is the
median of what an image took over what its networks took alone.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from benchmark import cascade_figure
from benchmark.machine import machine
from benchmark.show import table
from pretrain.common.cli import check_least, widths_argument
from pretrain.common.errors import UserError, nearest
from pretrain.common.feature_cache import FeatureCache
from pretrain.common.files import make_folder, write_json, write_text
from pretrain.data.augmentation.colour_stage import normalise
from transfer.devices.universal_runtime import UniversalRuntime, probabilities
from transfer.recognition.evaluate import prepare
from transfer.recognition.images import Images, as_tested, train_augmentation
from transfer.recognition.labels import labelled
from transfer.recognition.probe import train_probe
from transfer.recognition.protocols import VIEWS
from transfer.recognition.settings import RecognitionSettings, override
from transfer.recognition.sgd import linear_settings
from transfer.recognition.targets import find_root, load_splits
from transfer.targets import targets_of

EXAMPLE = "--checkpoint runs/us3l_resnet18_cifar10 --data datasets/cifar10 --threads 1 --output cascade"
CONFIDENCES = (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
TIMED = (0.5, 0.8)  # confidences that are run as a device runs them
WARM_UP = 20
CASCADE = ("confidence", "asked_twice", "above_uniform", "above_at_macs", "of_expected")  # columns of cascades alone
Head = Callable[[np.ndarray], np.ndarray]  # features [B, D] -> logits [B, classes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, help="universal checkpoint (default: the newest below runs/)")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="as of tools/transfer.py")
    parser.add_argument("--dataset", default="cifar10", metavar="NAME", help="a target of tools/transfer.py")
    widths_argument(parser, None)
    parser.add_argument("--narrow", type=float, nargs="+", metavar="W", help="asked first (default: the narrowest)")
    parser.add_argument("--images", type=int, metavar="N", help="test images that are asked (default: all)")
    parser.add_argument("--runtime", default="torch", metavar="NAME", help="as of tools/latency.py (default: torch)")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="of the heads, as of tools/transfer.py")
    parser.add_argument("--output", type=Path, metavar="D", help="write JSON, tables and a picture")


def measure(args: argparse.Namespace) -> dict:
    """Rows: each width alone, then each cascade from a narrow width to the widest at each confidence.

    Errors: UserError for an unknown data set, a width that is not calibrated, and what ``tools/transfer.py`` refuses.
    """
    if args.dataset not in targets_of("recognition"):
        raise UserError(f"unknown data set '{args.dataset}'{nearest(args.dataset, targets_of('recognition'))}")
    check_least(args, images=1)
    runtime = UniversalRuntime(args.checkpoint, args.runtime, threads=args.threads or 1, most=2**31)
    widths = sorted({*(args.widths or runtime.widths), *(args.narrow or ())}, reverse=True)
    runtime.source.check_widths(widths)
    wide, narrow = widths[0], args.narrow or [widths[-1]]
    if wide in narrow:
        raise UserError(f"--narrow {wide:g} is the widest of all; expected a narrower one")
    settings = override(RecognitionSettings("fast", image_size=runtime.image_size, workers=0), args.settings)
    splits = load_splits(args.dataset, find_root(args.dataset, args.data), runtime.image_size)
    heads = linear_heads(runtime, args.dataset, widths, splits, settings)
    images, labels = images_of(runtime, splits[1], args.images, settings.seed)
    scores, seconds = asked(runtime, heads, images, [(n, wide) for n in narrow])
    macs = {width: runtime.source.net.cost(width, runtime.image_size).macs / 1e6 for width in widths}
    rows = alone(scores, seconds, labels, macs)
    for first in narrow:
        rows += cascaded(scores, seconds, labels, macs, first, wide)
    found = {
        "title": f"Cascades of {runtime.source.backbone} on {args.dataset}: top-1 (%) and mean latency (ms), one image",
        "rows": rows, "test_images": len(images), "image_size": runtime.image_size, "runtime": args.runtime,
        "heads": settings.recorded(), "checkpoint": runtime.source.checkpoint_hash,
        **machine("cpu"), "threads": args.threads or 1,
    }  # fmt: skip
    if args.output:
        write(found, args.output)
    return found


def linear_heads(
    runtime: UniversalRuntime, dataset: str, widths: list[float], splits: tuple[Images, Images],
    settings: RecognitionSettings,
) -> dict[float, Head]:  # fmt: skip
    """A head for each width, as protocol ``fast`` trains it."""
    train, test = splits
    if settings.labels < 1:
        train = labelled(train, settings.labels, settings.seed)
    views = train_augmentation(dataset, runtime.image_size, runtime.source.metadata)
    linear, cache = linear_settings(dataset, runtime.source.backbone), FeatureCache(None)
    with Progress() as bar:
        shared = prepare(runtime.source, widths, train, test, views, settings, linear, cache, "cpu", bar)
        found = shared.features_of_training_images(VIEWS if settings.num_views is None else settings.num_views)
    heads = {}
    for width, [unchanged, *others] in found.items():
        probe = train_probe(
            [*others, unchanged], unchanged, train.labels, shared.classes, settings.probe, settings.seed
        )
        heads[width] = lambda features, probe=probe: probe(torch.from_numpy(features)).numpy()
    return heads


def images_of(
    runtime: UniversalRuntime, test: Images, count: int | None, seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Normalised images [1, C, S, S] and their labels, ``count`` of them drawn by ``seed``."""
    order = np.random.default_rng(seed).permutation(len(test))[:count].tolist()
    seen, metadata = as_tested(test, runtime.image_size), runtime.source.metadata
    pixels, labels = zip(*(seen[index] for index in order))
    return [normalise(p[None], metadata["mean"], metadata["std"]).numpy() for p in pixels], np.array(labels)


def asked(
    runtime: UniversalRuntime, heads: dict[float, Head], images: list[np.ndarray], pairs: list[tuple[float, float]]
) -> tuple[dict[float, np.ndarray], dict]:
    """Logits [N, classes] of every width, and seconds [N] by width and by (narrow, wide, confidence) of ``TIMED``."""
    calls: dict = {w: lambda image, w=w: heads[w](runtime(image, w)) for w in heads}
    for narrow, wide in pairs:
        calls |= {
            (narrow, wide, c): lambda image, n=narrow, w=wide, c=c: runtime.cascade(image, heads, n, w, c).scores
            for c in TIMED
        }
    answers: dict = {key: [] for key in calls}
    seconds: dict = {key: [] for key in calls}
    for number, image in enumerate([*images[:WARM_UP], *images]):
        for key, call in calls.items():
            start = time.perf_counter()
            answer = call(image)
            spent = time.perf_counter() - start
            if number >= min(WARM_UP, len(images)):
                answers[key].append(answer)
                seconds[key].append(spent)
    scores = {key: np.concatenate(found) for key, found in answers.items()}
    return scores, {key: np.array(found) for key, found in seconds.items()}


def row(network: str, right: np.ndarray, milliseconds: float, macs: float, **more) -> dict:
    """One line of the table. right: bool [N]."""
    cost = {"top1": 100 * float(right.mean()), "milliseconds": milliseconds, "million_macs": macs}
    return {"network": network, **cost, **dict.fromkeys(CASCADE), **more}


def undisturbed(seconds: np.ndarray) -> float:
    """Milliseconds of one image where nothing else slowed it."""
    return 1e3 * float(np.percentile(seconds, 10))


def alone(scores: dict, seconds: dict, labels: np.ndarray, macs: dict[float, float]) -> list[dict]:
    """A row for each width. macs: millions by width."""
    return [row(f"width {w:g}", scores[w].argmax(1) == labels, undisturbed(seconds[w]), macs[w]) for w in macs]


def above(uniform: list[dict], cost: str, found: dict) -> float | None:
    """Points of top-1 above the line through the widths alone at the same ``cost``; None beyond its ends."""
    line = sorted((row[cost], row["top1"]) for row in uniform)
    if not line[0][0] <= found[cost] <= line[-1][0]:
        return None
    return found["top1"] - float(np.interp(found[cost], *zip(*line)))


def cascaded(
    scores: dict, seconds: dict, labels: np.ndarray, macs: dict[float, float], narrow: float, wide: float
) -> list[dict]:
    """A row for each confidence. asked_twice: percent of the images. above_uniform: ``above`` at the same latency and
    at the same mean operations."""
    uniform = alone(scores, seconds, labels, macs)
    cost = {w: undisturbed(seconds[w]) for w in (narrow, wide)}
    sure = probabilities(scores[narrow]).max(axis=1)
    rows = []
    for confidence in CONFIDENCES:
        unsure = sure < confidence
        twice = float(unsure.mean())
        right = np.where(unsure[:, None], scores[wide], scores[narrow]).argmax(1) == labels
        found = row(
            f"{narrow:g}, then {wide:g}", right, cost[narrow] + twice * cost[wide], macs[narrow] + twice * macs[wide],
            confidence=confidence, asked_twice=100 * twice,
        )  # fmt: skip
        expected, key = seconds[narrow] + unsure * seconds[wide], (narrow, wide, confidence)
        found["above_uniform"] = above(uniform, "milliseconds", found)
        found["above_at_macs"] = above(uniform, "million_macs", found)
        found["of_expected"] = float(np.median(seconds[key] / expected)) if key in seconds else None
        rows.append(found)
    return rows


def write(found: dict, folder: Path) -> None:
    """``cascade`` .json, .md, .csv, .png and .svg in ``folder``."""
    make_folder(folder)
    write_json(folder / "cascade.json", found)
    for kind, end in (("markdown", "md"), ("csv", "csv")):
        write_text(folder / f"cascade.{end}", table(found["title"], found["rows"], kind))
    cascade_figure.save_cascade(found, folder)
