#!/usr/bin/env python
"""Convert a universal checkpoint at one or more widths to the files of another program."""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from transfer.convert import FORMATS, convert, listed, of_width, require


def parser() -> cli.Parser:
    """The options, which say for which formats they are."""
    folding = [name for name, described in FORMATS.items() if described.folds]
    sized = [name for name, described in FORMATS.items() if described.sized]
    quantised = [name for name, described in FORMATS.items() if described.int8]
    found = cli.Parser(
        "Cut plain backbones out of a universal checkpoint and write them for another program.",
        "tools/convert.py runs/demo/pretrain/universal.safetensors --width 0.5 --to detectron2 --output narrow",
    )
    found.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="UNIVERSAL",
        help="a universal.safetensors file, or the run folder that holds one",
    )
    cli.widths_argument(found, None, plans=True)
    found.add_argument(
        "--to",
        required=True,
        choices=(*FORMATS, "list"),
        help="the program to write for; list: all, and what each needs",
    )
    found.add_argument(
        "--output", type=Path, metavar="D",
        help="folder to write; with several widths one below it for each "
        "(default: converted/TARGET/width_W/ beside the checkpoint)",
    )  # fmt: skip
    found.add_argument(
        "--fold-bn", action="store_true",
        help=f"fold batch norms into the convolutions before them ({', '.join(folding)})",
    )  # fmt: skip
    found.add_argument(
        "--image-size",
        type=int,
        metavar="S",
        help=f"side of the images in pixels, for {', '.join(sized)} (default: that of pretraining)",
    )
    found.add_argument(
        "--int8", action="store_true",
        help=f"eight-bit integers, for {', '.join(quantised)}; the loss of accuracy is measured",
    )  # fmt: skip
    found.add_argument(
        "--data", type=Path, metavar="D",
        help="images to calibrate and judge --int8 on: folder, list, tar or parquet (default: the pretraining's)",
    )  # fmt: skip
    found.add_argument(
        "--max-loss", type=float, default=1.0, metavar="P",
        help="points of kNN accuracy that --int8 may lose (default: 1)",
    )  # fmt: skip
    found.add_argument("--licence", metavar="NAME", help="of the weights, in the card of --to hub (default: other)")
    found.add_argument(
        "--results", type=Path, metavar="D", help="results for the card of --to hub (default: the run's)"
    )
    return found


def check(arguments: argparse.Namespace) -> None:
    """UserError for options that do not go together, before torch is imported."""
    sized = [name for name, described in FORMATS.items() if described.sized]
    if arguments.data and not arguments.int8:
        raise UserError("--data names the images of --int8; expected both")
    if arguments.image_size is not None and (arguments.to not in sized or arguments.image_size < 1):
        raise UserError(
            f"--image-size is a number of pixels above 0, for --to {' or '.join(sized)}; the others take any size"
        )
    if arguments.checkpoint is None:
        raise UserError("no checkpoint given; expected a universal.safetensors file, or the run folder that holds one")
    require(arguments.to, arguments.int8)
    if (arguments.licence or arguments.results) and arguments.to != "hub":
        raise UserError("--licence and --results are of the card that --to hub writes")


def main(argv: list[str]) -> None:
    arguments = parser().parse_args(argv)
    if arguments.to == "list":
        print(listed())
        return
    check(arguments)
    if FORMATS[arguments.to].whole:
        write_hub(arguments)
        return
    if not arguments.widths:
        raise UserError("no width given; expected --width with one or more numbers, e.g. --width 0.5")

    from transfer.source import find_checkpoint, load_source

    checkpoint = find_checkpoint(arguments.checkpoint)
    source = load_source(checkpoint)
    net = source.net
    arguments.widths = list(map(net.width, arguments.widths))
    source.check_widths(arguments.widths)
    int8 = int8_images(source, arguments) if arguments.int8 else None
    backbone, output = net.metadata["backbone"]["name"], arguments.output
    for width in arguments.widths:
        folder = output or checkpoint.parent / "converted" / arguments.to
        if output is None or len(arguments.widths) > 1:
            folder = folder / f"width_{width:g}"
        print(f"{backbone} at width {width:g} -> {arguments.to}", flush=True)
        metadata = of_width(net, width)
        if arguments.image_size:
            metadata["export_size"] = arguments.image_size
        for path in convert(net.extract(width), arguments.to, folder, metadata, arguments.fold_bn, int8):
            print(path)


def write_hub(arguments) -> None:
    """All widths of the checkpoint in one folder."""
    if arguments.widths or arguments.fold_bn:
        raise UserError("--to hub writes all widths in one file, as they are; expected neither --width nor --fold-bn")
    from transfer.convert.hub import write
    from transfer.source import find_checkpoint, load_source

    source = load_source(find_checkpoint(arguments.checkpoint))
    output = arguments.output or source.path.parent / "converted" / arguments.to
    for path in write(source, output, arguments.licence or "other", arguments.results):
        print(path)


def int8_images(source, arguments):
    """What eight-bit files are calibrated and judged on."""
    from transfer.convert.int8 import Int8
    from transfer.validation import validation_images

    size = arguments.image_size or source.metadata["data"]["image_size"]
    return Int8(validation_images(source, size, arguments.data), arguments.max_loss)


if __name__ == "__main__":
    cli.run(main)
