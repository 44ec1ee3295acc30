#!/usr/bin/env python
"""Add widths to a universal checkpoint: estimate their batch-norm statistics on the images of its pretraining."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.run.allocator import restart_for_cpu


def main(argv: list[str]) -> None:
    parser = cli.Parser(__doc__, "tools/calibrate.py runs/demo/pretrain --widths 0.33 0.66")
    parser.add_argument(
        "checkpoint", type=Path, metavar="RUN", help="a run folder, or the universal.safetensors file in one"
    )
    cli.widths_argument(parser, None, plans=True)
    parser.add_argument("--data", type=Path, metavar="D", help="folder of the pretraining's images (default: as then)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write a copy (default: into the checkpoint itself)"
    )
    arguments = parser.parse_args(argv)
    if not arguments.widths:
        raise UserError("no width given; expected --widths with one or more numbers, e.g. --widths 0.33")

    from pretrain import load_universal
    from pretrain.recalibrate import pretraining_batches, recalibrate
    from pretrain.run.ownership import owned
    from pretrain.universal import FILE_NAME

    path = arguments.checkpoint / FILE_NAME if arguments.checkpoint.is_dir() else arguments.checkpoint
    if not path.is_file():
        raise UserError(f"no universal checkpoint at {path}; expected a run folder, or its {FILE_NAME}")
    target = arguments.output or path
    with owned(target.parent):  # no run writes there meanwhile
        net = load_universal(path)
        if not net.needs_calibration:
            print(f"{net.metadata['backbone']['name']} has no batch norms: every width of its range can be used")
            print(net.save(target) if target != path else path)
            return
        widths = list(map(net.width, arguments.widths))
        batches = pretraining_batches(net, path.parent, arguments.data)
        named = ", ".join(f"{width:g}" for width in widths)
        print(f"calibrating {named} on {batches.count} batches of {batches.batch_size} images", flush=True)
        recalibrate(net, widths, batches)
        net.save(target)
    print(f"calibrated widths: {', '.join(f'{width:g}' for width in [*net.calibrated_widths, *net.calibrated_plans])}")
    print(target)


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
