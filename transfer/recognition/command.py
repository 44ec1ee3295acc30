"""Recognition on the command line: ``tools/transfer.py digits`` and ``tools/transfer.py folder --data D``."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pretrain.cli import checked_device, widths_argument
from pretrain.errors import UserError
from transfer.recognition.evaluate import evaluate
from transfer.recognition.settings import PROTOCOLS, Settings, override
from transfer.results import FILE_NAME, Result, result_folder
from transfer.source import INITS, find_checkpoint, load_source

TARGETS = {"digits": "scikit-learn's digits, embedded", "folder": "DATA/{train,test or val}/<class>/ of images"}
EXAMPLE = "--widths 1.0 0.75 0.5 0.25 --protocol fast"
WIDTHS = [1.0, 0.75, 0.5, 0.25]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything but the target itself."""
    widths_argument(parser, WIDTHS)
    parser.add_argument("--checkpoint", type=Path, help="universal checkpoint (default: the newest below runs/)")
    parser.add_argument("--init", choices=INITS, default="pretrained", help="random: the same network, not pretrained")
    parser.add_argument("--data", type=Path, help="the folder of images")
    parser.add_argument("--name", help="the data set's name in results (default: the folder's)")
    parser.add_argument("--output", type=Path, help="folder for results (default: transfer/ beside the checkpoint)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="fast", help="fast (default): linear probe and kNN")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--image-size", type=int, help="px (default: pretraining's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calibrate", action="store_true", help="estimate batch-norm statistics on these images")
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="other settings, e.g. neighbours=50")


def main(args: argparse.Namespace) -> None:
    """args.target: ``digits`` or ``folder``."""
    if args.target == "folder" and args.data is None:
        raise UserError("folder needs --data, a folder that holds train/<class>/ and test/<class>/ of images")
    settings = Settings(args.protocol, args.image_size, args.batch, args.epochs, args.seed)
    settings = override(settings, args.overrides)
    device, checkpoint = checked_device(args.device), find_checkpoint(args.checkpoint)
    source = load_source(checkpoint, args.init, settings.seed)
    output = args.output or checkpoint.parent / "transfer"
    root = args.data if args.target == "folder" else None
    print(
        f"{settings.protocol} evaluation of {source.backbone} ({source.method}, {checkpoint}) at widths "
        f"{' '.join(f'{w:g}' for w in args.widths)} on {root or args.target}, {device}"
    )
    results = evaluate(
        source, args.target, root, args.widths, output, settings,
        name=args.name, calibrate=args.calibrate, device=device,
    )  # fmt: skip
    show(results)
    for result in results:
        print(result_folder(output, result.dataset, result.task, result.width, result.method) / FILE_NAME)


def show(results: list[Result]) -> None:
    """Print the accuracies, a row for each width and task."""
    table = Table("task", "width", "params", "MACs", "top-1 %", "class mean %", "seconds")
    for result in results:
        top1, mean = result.metrics["top1"], result.metrics["class_mean"]
        table.add_row(
            result.task, f"{result.width:g}", f"{result.params / 1e6:.3f} M", f"{result.macs / 1e6:.1f} M",
            f"{top1:.2f}", f"{mean:.2f}", f"{result.seconds:.1f}",
        )  # fmt: skip
    Console().print(table)
