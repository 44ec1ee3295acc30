"""Recognition on the command line: ``tools/transfer.py cifar10``, ``folder --data D`` and others."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pretrain.common.cli import checked_device, widths_argument
from pretrain.common.errors import UserError
from pretrain.slimmable.widths import FOUR_WIDTHS
from transfer.results import FILE_NAME, Result
from transfer.targets import INITS, METRICS, PROTOCOLS, headline

if TYPE_CHECKING:  # what imports torch is imported where it is used: --help need not wait for it
    from transfer.recognition.settings import RecognitionSettings

SHOWN = ("top1", "class_mean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything but the target itself."""
    widths_argument(parser, list(FOUR_WIDTHS), plans=True)
    protocols = "; ".join(f"{name}: {protocol.text}" for name, protocol in PROTOCOLS.items()) + " (default: fast)"
    parser.add_argument("--checkpoint", type=Path, help="universal checkpoint (default: the newest below runs/)")
    parser.add_argument("--init", choices=INITS, default="pretrained", help="random: the same network, not pretrained")
    parser.add_argument(
        "--data", type=Path, help="folder of images, or torchvision's root (default: DETECTRON2_DATASETS, or datasets/)"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision fetch what is missing into --data")
    parser.add_argument("--name", help="the data set's name in results (default: the target's, or the folder's)")
    parser.add_argument("--output", type=Path, help="folder for results (default: transfer/ beside the checkpoint)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="fast", help=protocols)
    parser.add_argument(
        "--labels", nargs="+", metavar="SHARE", help="learn from a share of each class's images, e.g. 1%% 10%% 100%%"
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps features (default: features/ in the output)")
    parser.add_argument("--no-cache", action="store_true", help="keep no features")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--image-size", type=int, help="px (default: pretraining's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="estimate batch-norm statistics on these training images (default: pretraining's are used)",
    )
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="other settings, e.g. neighbours=50")


def example(target: str) -> str:
    """Options that evaluate ``target``."""
    return f"{'--data datasets/birds ' if target == 'folder' else ''}--widths 1.0 0.75 0.5 0.25 --protocol fast"


def settings(args: argparse.Namespace) -> "RecognitionSettings":
    """What the options say of the evaluation itself. Errors: UserError for options that don't go together."""
    from transfer.recognition.settings import RecognitionSettings, override

    if args.cache and args.no_cache:
        raise UserError("--cache and --no-cache contradict each other; expected one of them")
    settings = RecognitionSettings(args.protocol, args.image_size, batch=args.batch, epochs=args.epochs, seed=args.seed)
    settings = override(settings, args.overrides)
    shares(args.labels, settings)
    return settings


def shares(labels: list[str] | None, settings: "RecognitionSettings") -> list[float]:
    """The shares of the labels that are learned from, each once; UserError for what is none."""
    from transfer.recognition.labels import share

    return list(dict.fromkeys(map(share, labels))) if labels else [settings.labels]


def main(args: argparse.Namespace) -> None:
    """args: with ``target``, one of recognition, and its ``settings``."""
    if args.target == "folder" and args.data is None:
        raise UserError("folder needs --data, a folder that holds train/<class>/ and test/<class>/ of images")
    from transfer.recognition.evaluate import evaluate, folder_of
    from transfer.recognition.targets import download, find_root
    from transfer.source import find_checkpoint, load_source

    settings: RecognitionSettings = args.settings
    device, checkpoint = checked_device(args.device), find_checkpoint(args.checkpoint)
    source, root = load_source(checkpoint, args.init, settings.seed), find_root(args.target, args.data)
    if args.download:
        download(args.target, root)
    widths = list(map(source.width, args.widths))
    output = args.output or checkpoint.parent / "transfer"
    cache = None if args.no_cache else args.cache or output / "features"
    print(
        f"{settings.protocol} evaluation of {source.backbone} ({source.method}, {checkpoint}) at widths "
        f"{' '.join(f'{w:g}' for w in widths)} on {args.target}{f' in {root}' if root else ''}, {device}"
    )
    results = []
    for share in shares(args.labels, settings):
        results += evaluate(
            source, args.target, root, widths, output, dataclasses.replace(settings, labels=share),
            name=args.name, calibrate=args.calibrate, cache=cache, device=device,
        )  # fmt: skip
    show(results)
    for result in results:
        print(folder_of(result, output) / FILE_NAME)


def show(results: list[Result]) -> None:
    """Print the accuracies, a row for each width and task, the data set's usual metric first."""
    usual, *_ = headline(results[0].details["target"], results[0].task)
    metrics = sorted(SHOWN, key=lambda metric: metric != usual)
    table = Table(
        "task", "labels", "width", "params", "MACs", *(f"{METRICS[metric]} %" for metric in metrics), "seconds"
    )
    for result in results:
        labels = result.details["settings"].get("labels", 1)
        table.add_row(
            result.task, f"{100 * labels:g} %", f"{result.width:g}", f"{result.params / 1e6:.3f} M",
            f"{result.macs / 1e6:.1f} M", *(f"{result.metrics[metric]:.2f}" for metric in metrics),
            f"{result.seconds:.1f}",
        )  # fmt: skip
    Console().print(table)
