#!/usr/bin/env python
"""Tables and plots of all result.json files below a folder."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.common.files import write_text
from transfer.plots import plot, plot_figure_3
from transfer.results import read_results
from transfer.tables import NAMES, SUFFIXES, build_all, render, render_all


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
    parser.add_argument(
        "--format",
        choices=SUFFIXES,
        default="markdown",
        help="markdown (default), latex (a document that compiles, or is \\input) or csv",
    )
    parser.add_argument("--paper", action="store_true", help="the paper's figures beside ours, in brackets")
    parser.add_argument("--plot", action="store_true", help="accuracy and AP against MACs as PNG and SVG, or Figure 3")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="D",
        help="write the tables here instead of printing them (plots: RUNS by default)",
    )
    args = parser.parse_args(argv)
    records = read_results(args.runs)
    tables = build_all(args.table, records, args.paper)
    if args.output is None:
        print(render_all(tables, args.format))
    else:
        for table in tables:
            path = args.output / f"table_{table.name}.{SUFFIXES[args.format]}"
            write_text(path, render(table, args.format))
            print(path)
    if args.plot:
        folder = args.output or args.runs
        paths = plot_figure_3(records, folder) if args.table in ("figure3", "all") else []
        if args.table == "figure3" and not paths:
            raise UserError(f"{args.runs} has no result that belongs into Figure 3: nothing to draw")
        if args.table != "figure3":
            paths += plot(records, folder)
        print(*paths, sep="\n")


if __name__ == "__main__":
    cli.run(main)
