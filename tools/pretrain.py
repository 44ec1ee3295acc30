#!/usr/bin/env python
"""Pretrain a universally slimmable backbone from a config; one process, or many under torchrun."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.run.allocator import restart_for_cpu


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        __doc__,
        "tools/pretrain.py configs/pretrain/us3l_resnet18_cifar10.py data.root=datasets/cifar10 training.epochs=100",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a python config, see configs/pretrain/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of the config")
    parser.add_argument("--work-dir", type=Path, help="folder of the run (default: runs/<name of the config>)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest valid checkpoint, if any")
    parser.add_argument("--device", default=None, choices=("cpu", "cuda"), help="default: cuda if present, else cpu")
    args = parser.parse_intermixed_args(argv)

    from pretrain.config import load_config
    from pretrain.train import pretrain

    work_dir = args.work_dir or Path("runs") / args.config.stem
    path = pretrain(load_config(args.config, args.overrides), work_dir, args.resume, cli.checked_device(args.device))
    print(f"universal checkpoint: {path}")


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
