#!/usr/bin/env python
"""Convert a universal checkpoint at one or more widths to the files of another program."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain import cli
from pretrain.errors import UserError
from transfer.convert import TARGETS, convert
from transfer.source import find_checkpoint, load_source


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Cut plain backbones out of a universal checkpoint and write them for another program.",
        "tools/convert.py runs/demo/pretrain/universal.safetensors --width 0.5 --to detectron2 --output narrow",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="UNIVERSAL",
        help="a universal.safetensors file, or the run folder that holds one",
    )
    cli.widths_argument(parser, None)
    parser.add_argument("--to", required=True, choices=TARGETS, help="the program to write for")
    parser.add_argument(
        "--output", type=Path, metavar="D",
        help="folder to write; with several widths one below it for each "
        "(default: converted/TARGET/width_W/ beside the checkpoint)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if not arguments.widths:
        raise UserError("no width given; expected --width with one or more numbers, e.g. --width 0.5")
    checkpoint = find_checkpoint(arguments.checkpoint)
    source = load_source(checkpoint)
    source.check_widths(arguments.widths)
    net = source.net
    backbone, output = net.metadata["backbone"]["name"], arguments.output
    for width in arguments.widths:
        folder = output or checkpoint.parent / "converted" / arguments.to
        if output is None or len(arguments.widths) > 1:
            folder = folder / f"width_{width:g}"
        print(f"{backbone} at width {width:g} -> {arguments.to}", flush=True)
        for path in convert(net.extract(width), arguments.to, folder, net.metadata):
            print(path)


if __name__ == "__main__":
    cli.run(main)
