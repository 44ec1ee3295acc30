#!/usr/bin/env python
"""One HTML page about a folder of runs: tables that sort, plots, pretraining curves, links to the logs."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Write one HTML page about all results and pretrainings below a folder. It needs no network and no other file.",
        "tools/report.py runs/demo --output runs/demo/report.html",
    )
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder with runs and result.json files, at any depth")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the page (default: RUNS/report.html); its links are relative to it"
    )
    args = parser.parse_args(argv)
    from transfer.report import write_report  # imports torch, which --help need not wait for

    print(write_report(args.runs, args.output or args.runs / "report.html"))


if __name__ == "__main__":
    cli.run(main)
