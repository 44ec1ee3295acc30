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

MINIMA = {"image_size": 8, "repeats": 1, "warm_up": 0, "threads": 1}


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Latency of each width in each runtime, beside its parameters, MACs, bytes on the disk and peak memory.",
        "tools/latency.py runs/demo/pretrain --widths 1.0 0.25 --runtimes torch openvino --int8 --output latency",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="UNIVERSAL", help="a universal.safetensors file, or the run folder with one"
    )
    cli.widths_argument(parser, None, plans=True)
    parser.add_argument(
        "--runtimes", nargs="+", metavar="NAME",
        help=f"of {', '.join(RUNTIMES)} (default: torch, and onnxruntime if installed)",
    )  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="time each runtime's eight-bit file too")
    parser.add_argument("--batch", type=int, default=1, metavar="B", help="images in a pass, timed beside 1")
    parser.add_argument("--image-size", type=int, default=224, metavar="S", help="side in pixels (default: 224)")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="passes that count (default: 30)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="passes before them (default: 5)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every runtime (default: 1)")
    parser.add_argument("--device", metavar="NAME", help="torch's: cuda or cpu; the others run on the CPU")
    parser.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown", help="default: markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and conditions to this file")
    parser.add_argument(
        "--output", type=Path, metavar="D",
        help="measure kNN accuracy on validation images too, and write a result.json for each width and runtime and a "
        "plot of accuracy, latency and bytes",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="D", help="images of --output (default: the pretraining's)")
    args = parser.parse_args(argv)
    cli.check_least(args, **MINIMA, batch=1)
    if args.data and not args.output:
        raise UserError("--data names the images that accuracy is measured on; expected --output D as well")
    time_widths(args)


def time_widths(args) -> None:
    from transfer.devices.latency import conditions, measure
    from transfer.devices.table import latency_table
    from transfer.devices.variants import chosen, with_int8
    from transfer.source import find_checkpoint, load_source
    from transfer.tables import render

    runtimes = chosen(args.runtimes)
    variants = with_int8(runtimes) if args.int8 else runtimes
    device = cli.checked_device(args.device)
    checkpoint = find_checkpoint(args.checkpoint)
    source = load_source(checkpoint)
    widths = list(map(source.width, args.widths or source.net.calibrated_widths))
    say = partial(print, file=sys.stderr, flush=True)  # a table in LaTeX or CSV is all that stands on the output
    say(f"{source.backbone} of {checkpoint} at {', '.join(f'{w:g}' for w in widths)} on {device}")
    if args.runtimes is None and "onnxruntime" not in runtimes:
        say("onnxruntime is left out: it needs the extra 'formats' (pip install '.[formats]')")
    settings = {name: getattr(args, name) for name in MINIMA}
    batches = list(dict.fromkeys([1, args.batch]))
    if args.output:
        from transfer.devices.accuracy import judged

        found, seen = judged(source, widths, variants, batches, settings, device, args.data, say)
    else:
        backbone = source.net.backbone  # untrained: time does not depend on the weights, so any width can be measured
        plain = {width: backbone.plain(backbone.channels(width)).eval() for width in widths}
        found = measure(plain, source.metadata, variants, batches, **settings, device=device)
    where = conditions(batches, **settings, device=device, variants=variants)
    print(render(latency_table(source.backbone, found, where), args.format), end="")
    if args.json:
        record = {"checkpoint": source.checkpoint_hash, "backbone": source.backbone, "conditions": where}
        write_json(args.json, {**record, "widths": [asdict(row) for row in found]})
        say(args.json)
    if args.output:
        from transfer.devices.figure import save_latencies
        from transfer.devices.results import write_results

        for path in [
            *write_results(found, where, source, seen, args.output),
            *save_latencies(found, where, args.output),
        ]:
            say(path)


if __name__ == "__main__":
    cli.run(main)
