#!/usr/bin/env python
"""Pretrain a universally slimmable backbone from a config; one process, or many under torchrun or srun."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.configfile import Address, as_python
from pretrain.run.allocator import restart_for_cpu
from pretrain.run.membership import is_main_process


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        __doc__,
        "tools/pretrain.py configs/pretrain/us3l_resnet18_cifar10.py data.root=datasets/cifar10 training.epochs=100\n"
        "  tools/pretrain.py configs/pretrain/table7.py:case12 --show",
    )
    parser.add_argument(
        "config", type=Address.parse, metavar="CONFIG[:ROW]", help="a python config, a row of it: configs/pretrain/"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of the config")
    parser.add_argument("--show", action="store_true", help="print the config with all its settings; train nothing")
    parser.add_argument(
        "--settings", action="store_true", help="print what each setting takes and means; train nothing"
    )
    parser.add_argument("--work-dir", type=Path, help="folder of the run (default: runs/<name of the config>)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest valid checkpoint, if any")
    parser.add_argument("--device", default=None, choices=("cpu", "cuda"), help="default: cuda if present, else cpu")
    args = parser.parse_intermixed_args(argv)

    from pretrain.config import load_config

    config = load_config(args.config, args.overrides)
    if args.show:
        print(as_python(config.as_dict()), end="")
        return
    if args.settings:
        from pretrain.settings_page import listing

        print(listing(config))
        return

    from pretrain.train import pretrain

    work_dir = args.work_dir or Path("runs") / args.config.run
    path = pretrain(config, work_dir, args.resume, cli.checked_device(args.device))
    if is_main_process():
        print(f"universal checkpoint: {path}")


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
