#!/usr/bin/env python
"""Tables and plots of all result.json files below a folder."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain import cli
from transfer.plots import plot
from transfer.results import read_results
from transfer.tables import NAMES, SUFFIXES, build_all, render


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Tables and plots of all result.json files below a folder.",
        "tools/tables.py runs/demo --table widths --format markdown --plot",
    )
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder with result.json files, at any depth")
    parser.add_argument(
        "--table", default="widths", metavar="NAME",
        help=f"{', '.join(NAMES)} or all: against width (default), or laid out as a table of the paper",
    )  # fmt: skip
    parser.add_argument("--format", choices=SUFFIXES, default="markdown", help="default: markdown")
    parser.add_argument("--paper", action="store_true", help="the paper's figures beside ours, in brackets")
    parser.add_argument("--plot", action="store_true", help="accuracy and AP against MACs, as PNG and SVG")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="D",
        help="write the tables here instead of printing them (plots: RUNS by default)",
    )
    args = parser.parse_args(argv)
    records = read_results(args.runs)
    for table in build_all(args.table, records, args.paper):
        text = render(table, args.format)
        if args.output is None:
            print(text)
        else:
            args.output.mkdir(parents=True, exist_ok=True)
            path = args.output / f"table_{table.name}.{SUFFIXES[args.format]}"
            path.write_text(text)
            print(path)
    if args.plot:
        print(*plot(records, args.output or args.runs), sep="\n")


if __name__ == "__main__":
    cli.run(main)
