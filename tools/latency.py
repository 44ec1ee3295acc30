#!/usr/bin/env python
"""Time one forward pass of each width of a universal checkpoint in the runtimes of devices."""

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.common.files import write_json
from transfer.runtimes import RUNTIMES

MINIMA = {"batch": 1, "image_size": 8, "repeats": 1, "warm_up": 0, "threads": 1}


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Latency of each width in each runtime, beside its parameters, MACs and bytes on the disk.",
        "tools/latency.py runs/demo/pretrain/universal.safetensors --widths 1.0 0.25 --runtimes torch openvino",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="UNIVERSAL", help="a universal.safetensors file, or the run folder with one"
    )
    cli.widths_argument(parser, None)
    parser.add_argument(
        "--runtimes", nargs="+", metavar="NAME",
        help=f"of {', '.join(RUNTIMES)} (default: torch, and onnxruntime if installed)",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=1, metavar="B", help="images in a pass (default: 1)")
    parser.add_argument("--image-size", type=int, default=224, metavar="S", help="side in pixels (default: 224)")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="passes that count (default: 30)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="passes before them (default: 5)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every runtime (default: 1)")
    parser.add_argument("--device", metavar="NAME", help="torch's: cuda or cpu; the others run on the CPU")
    parser.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown", help="default: markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and conditions to this file")
    args = parser.parse_args(argv)
    for name, least in MINIMA.items():
        if getattr(args, name) < least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name)} is too small; expected {least} or more")

    from pretrain.slimmable.widths import check_width
    from transfer.latency import chosen, conditions, latency_table, measure
    from transfer.source import find_checkpoint, load_source

    runtimes = chosen(args.runtimes)
    device = cli.checked_device(args.device)
    checkpoint = find_checkpoint(args.checkpoint)
    source = load_source(checkpoint)
    widths = args.widths or source.net.calibrated_widths
    for width in widths:
        check_width(width, *source.net.width_range)

    from transfer.tables import render

    say = partial(print, file=sys.stderr, flush=True)  # a table in LaTeX or CSV is all that stands on the output
    say(f"{source.backbone} of {checkpoint} at {', '.join(f'{w:g}' for w in widths)} on {device}")
    if args.runtimes is None and "onnxruntime" not in runtimes:
        say("onnxruntime is left out: it needs the extra 'formats' (pip install '.[formats]')")
    backbone = source.net.backbone

    def untrained(width: float):
        """Time does not depend on the weights, so any width can be measured."""
        return backbone.plain(backbone.channels(width)).eval()

    settings = {name: getattr(args, name) for name in MINIMA}
    found = measure({width: untrained(width) for width in widths}, source.metadata, runtimes, **settings, device=device)
    where = conditions(**settings, device=device, runtimes=runtimes)
    print(render(latency_table(source.backbone, found, where), args.format), end="")
    if args.json:
        record = {"checkpoint": source.checkpoint_hash, "backbone": source.backbone, "conditions": where}
        write_json(args.json, {**record, "widths": [asdict(row) for row in found]})
        say(args.json)


if __name__ == "__main__":
    cli.run(main)
