"""Signs of collapse against iterations, of runs beside one another: a table, and a picture that a phone shows.

Spread and effective rank of the embeddings are what pretraining writes with every line of its log
(``pretrain/monitor.py``): a width whose spread or rank falls below the default limits has collapsed.
"""

import argparse
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import read_lines
from pretrain.monitor import MonitorSettings
from transfer.plots import COLOURS, fitting_legend, new_figure, save

EXAMPLE = "runs/case01 runs/us_simsiam --picture collapse"
STYLES = ("-", "--", ":", "-.")
SIGNS = {"spread": "spread (1: all directions, 0: one point)", "rank": "effective rank (1: a line)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="work folders of pretrainings")
    parser.add_argument("--picture", type=Path, metavar="NAME", help="write NAME.png and NAME.svg")


def measure(args: argparse.Namespace) -> dict:
    """Rows: each width that a run watched. Errors: UserError for a folder without a log."""
    names = [folder.name for folder in args.runs]
    logs = {f.name if names.count(f.name) == 1 else str(f): log(f) for f in args.runs}
    rows = [row(name, lines, width) for name, lines in logs.items() for width in watched(lines)]
    found = {"title": "Signs of collapse in the logs of pretrainings", "rows": rows}
    if args.picture is None:
        return found
    paths = save(lambda: draw(logs), args.picture, **{"font.size": 12})
    return found | {"written": [str(path) for path in paths]}


def log(folder: Path) -> list[dict]:
    """The lines of a run's log that say how its widths do. Errors: UserError where there are none."""
    lines = [line for line in read_lines(folder / "metrics.jsonl") if watched([line])]
    if not lines:
        raise UserError(f"{folder} has no metrics.jsonl of a pretraining; expected its --work-dir")
    return lines


def watched(lines: list[dict]) -> list[str]:
    """The widths that a log watches, as its keys name them: ``1``, ``0.25``."""
    return [name.removesuffix("/spread") for name in lines[0] if name.endswith("/spread")]


def row(name: str, lines: list[dict], width: str) -> dict:
    """What a width came to. collapsed_at: the first logged iteration from which on a sign stays below its limit, or is
    no number; None where none does."""
    limits, collapsed = MonitorSettings(), None
    for line in reversed(lines):
        if line[f"{width}/spread"] >= limits.min_spread and line[f"{width}/rank"] >= limits.min_rank:
            break
        collapsed = line["iteration"]
    lowest = {f"least_{sign}": min(line[f"{width}/{sign}"] for line in lines) for sign in SIGNS}
    last = {sign: lines[-1][f"{width}/{sign}"] for sign in SIGNS}
    facts = {"run": name, "width": width, "iterations": lines[-1]["iteration"]}
    return facts | last | lowest | {"collapsed_at": collapsed}


def draw(logs: dict[str, list[dict]]):
    """A matplotlib Figure, a panel for each sign; a colour is a run, a style of lines one of its widths."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure = new_figure(5.2, 7.0)
    panels = figure.subplots(2, 1, sharex=True)
    for axis, (sign, title) in zip(panels, SIGNS.items(), strict=True):
        for i, (name, lines) in enumerate(logs.items()):
            for k, width in enumerate(watched(lines)):
                x, y = [line["iteration"] for line in lines], [line[f"{width}/{sign}"] for line in lines]
                label = f"{name} at {width}" if axis is panels[0] else None
                axis.plot(x, y, color=COLOURS[i % len(COLOURS)], linestyle=STYLES[k % 4], linewidth=2, label=label)
        axis.set_title(title, fontsize=12)
        axis.grid(color="#808080", alpha=0.25, linewidth=0.8)
    panels[0].set_ylim(0, 1.05)
    panels[1].set_yscale("log")
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1].yaxis.set_minor_locator(NullLocator())
    panels[1].yaxis.set_major_formatter("{x:g}")
    panels[1].set_xlabel("iterations")
    fitting_legend(figure, 2)
    return figure
