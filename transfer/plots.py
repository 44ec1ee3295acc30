"""Accuracy and average precision against multiply-accumulates: one panel a metric, one line a method."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.common.files import replacing
from transfer.tables.figure import seeds_note
from transfer.tables.paper import FIGURE_3, figure_3_records
from transfer.tables.widths import Series, series
from transfer.targets import METRICS, TASKS
from transfer.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0b6aa2", "#c8501e", "#2f8f4e", "#8a4fb0", "#a3831a", "#b83a6e", "#2a9d9d", "#6b4a35")
# methods of the project, each with a colour of its own in every picture; others take what is left
METHODS = ("us3l", "us+byol", "us+simclr", "us+simsiam", "us+mocov3", "byol", "supervised", "seed")
RANDOM = {"color": "#7a7a7a", "linestyle": (0, (4, 2)), "markersize": 4.5}
LINES = ("-", (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (5, 2)))
MARKS = "osD^vPXphd"
# how a legend says a fact
TOLD = {
    "pretrained_on": "on {}", "epochs": "{} epochs", "batch": "batch {}", "stem": "{} stem",
    "protocol": "{} protocol", "image_size": "{} px", "iterations": "{} iterations",
}  # fmt: skip
COLUMNS, CHARACTERS = 2, 50  # of panels side by side (a telephone's); of a legend's entry that is as wide as one
LEAST_RANGE = 1.0  # percent: an axis over less would make a picture of noise


def plot(records: list[dict], folder: Path, name: str = "accuracy_against_macs") -> list[Path]:
    """Draw ``records`` (transfer.results.read_results) into folder/<name>.png and .svg; returns both paths.

    The same records give the same SVG bytes.
    """
    return save(lambda: draw(series(records)), Path(folder) / name)


def plot_figure_3(records: list[dict], folder: Path) -> list[Path]:
    """Figure 3: AP50 on VOC against MACs, random initialisation beside BYOL and US3L; no path without results."""
    lines = figure_3_series(records)
    return save(lambda: draw(lines), Path(folder) / "figure3") if lines else []


def figure_3_series(records: list[dict]) -> list[Series]:
    """The lines of Figure 3 that have results, from those that fill its table."""
    chosen = [record for method in FIGURE_3 for record in figure_3_records(records, method)]
    return [line for line in series(chosen) if line.key[2] == "box/AP50" and line.figures]


def save(make: Callable[[], "Figure"], path: Path, **settings) -> list[Path]:
    """``path``.png and .svg of a figure that is made in the style of all; the same bytes every time.

    settings: matplotlib's, e.g. ``font.size``.
    """
    path = Path(path)
    paths = [path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")]
    with styled(path.name, **settings), replacing(paths[0]) as png, replacing(paths[1]) as svg:
        figure = make()
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return paths


@contextmanager
def styled(name: str, **settings) -> Iterator[None]:
    """matplotlib's settings while something is drawn and saved; name: makes the SVG's identifiers repeat."""
    from matplotlib import rc_context

    style = {
        "svg.hashsalt": name, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
        "text.parse_math": False,  # a method called $x$ is called so
    }  # fmt: skip
    with rc_context(style | settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of a name; a box stands in its place
        yield


def draw(lines: list[Series]):
    """A matplotlib Figure with a panel for each task, data set and metric. Call it, and save it, within ``styled``."""
    panels, look = panels_of(lines), Look.of(lines)
    columns = max(1, min(COLUMNS, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    longest = max(map(len, look.styles), default=1)
    across = max(1, min(columns, CHARACTERS * columns // longest))
    entries = math.ceil(len(look.styles) / across)
    figure = new_figure(3.4 * columns + 0.2, 3.1 * rows + 0.5 + 0.22 * entries)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (panel, here) in zip(axes, panels.items()):
        draw_panel(axis, panel, here, look)
    for axis in axes[len(panels) :]:
        axis.remove()
    add_legend(figure, look, across)
    return figure


def draw_one(panel: tuple[str, ...], lines: list[Series], look: "Look"):
    """One panel as a Figure of its own, which can be read on a telephone."""
    figure = new_figure(3.5, 3.1)
    draw_panel(figure.subplots(), panel, lines, look)
    return figure


def draw_legend(look: "Look"):
    """What the lines of all panels stand for, as a Figure of its own."""
    figure = new_figure(3.5, 0.22 * len(look.styles) + 0.1)
    add_legend(figure, look, 1)
    return figure


def new_figure(width: float, height: float):
    """A Figure of so many inches that belongs to nobody else."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_legend(figure, look: "Look", columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=1.8, **style) for style in look.styles.values()]
    fitting_legend(figure, columns, handles, list(look.styles), loc="outside upper center")


def fitting_legend(figure, columns: int, *entries: list, loc: str = "outside lower center") -> None:
    """A legend of the whole figure in as many columns as fit into its width, at most ``columns``."""
    while True:
        legend = figure.legend(*entries, loc=loc, ncols=columns, frameon=False)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
        columns -= 1


def panels_of(lines: list[Series]) -> dict[tuple[str, ...], list[Series]]:
    """The lines that have figures, by (task, data set, metric)."""
    panels: dict[tuple[str, ...], list[Series]] = {}
    for line in lines:
        if line.figures:
            panels.setdefault(line.key[:3], []).append(line)
    return panels


@dataclass(frozen=True)
class Look:
    """labels: by a line's key. styles: by label, the same in every panel."""

    labels: dict[tuple[str, ...], str]
    styles: dict[str, dict]

    @classmethod
    def of(cls, lines: list[Series]) -> "Look":
        drawn = [line for line in lines if line.figures]
        labels = legend_labels(drawn)
        return cls(labels, line_styles(drawn, labels))


def caption_of(panel: tuple[str, ...], lines: list[Series]) -> str:
    """What is drawn, by which protocol or framework, over how many seeds."""
    task, dataset, metric = panel
    by = sorted({line.about[name] for line in lines for name in ("protocol", "framework") if name in line.about})
    means = f" by {' and '.join(by)}" if by else ""
    what = f"{METRICS.get(metric, metric)} on {dataset}, {TASKS[task].caption}{means}"
    return f"{what}. {seeds_note([line.seeds for line in lines])}"


def draw_panel(axis, panel: tuple[str, ...], lines: list[Series], look: Look) -> None:
    """One metric: MACs on a logarithmic axis with a tick at each width that was evaluated."""
    task, dataset, metric = panel
    ticks: dict[int, float] = {}
    for line in lines:
        widths = sorted(line.figures)
        x = [line.macs[width] for width in widths]
        y = [line.figures[width].mean for width in widths]
        error = [line.figures[width].deviation or 0.0 for width in widths]
        bars = error if any(error) else None
        axis.errorbar(x, y, yerr=bars, capsize=2.5, linewidth=1.8, **look.styles[look.labels[line.key]])
        ticks.update(zip(x, widths))
    axis.set_title(f"{printable(dataset)}: {TASKS[task].caption}", fontsize=10.5)
    axis.set_ylabel(f"{METRICS.get(metric, printable(metric))} (%)")
    alone = len({line.key[3] for line in lines}) == 1
    axis.set_xlabel("MACs of the backbone, width below" if alone else "MACs of the backbone")
    axis.set_xscale("log")
    axis.minorticks_off()
    if alone:
        shown = spaced(list(ticks))
        axis.set_xticks(shown, [f"{si(macs)}\n{ticks[macs]:g}×" for macs in shown], fontsize=9)
    else:  # widths of several networks lie between each other
        shown = spaced(list(ticks))
        axis.set_xticks(shown, list(map(si, shown)), fontsize=9)
    axis.margins(x=0.12, y=0.12)
    low, high = axis.get_ylim()
    if high - low < LEAST_RANGE:
        middle = max((low + high) / 2, LEAST_RANGE * 0.45)
        axis.set_ylim(middle - LEAST_RANGE / 2, middle + LEAST_RANGE / 2)
    axis.grid(axis="y", color="#808080", alpha=0.25, linewidth=0.8)
    axis.set_axisbelow(True)


def spaced(ticks: list[int], gap: float = 0.19) -> list[int]:
    """Ticks, largest first, without those nearer to the last than ``gap`` of the logarithmic axis."""
    ordered = sorted(ticks, reverse=True)
    reach = gap * math.log(ordered[0] / ordered[-1])
    kept = ordered[:1]
    for tick in ordered[1:]:
        if math.log(kept[-1] / tick) >= reach:
            kept.append(tick)
    return kept


def legend_labels(lines: list[Series]) -> dict[tuple[str, ...], str]:
    """A name for each line by its key: the method, and every fact in which lines of one panel differ."""
    names = ("backbone", *(lines[0].names if lines else ()))
    panels: dict[tuple[str, ...], list[Series]] = {}
    for line in lines:
        panels.setdefault(line.key[:3], []).append(line)
    told = [
        name for name in names if any(len({fact(line, name) for line in each} - {""}) > 1 for each in panels.values())
    ]
    if "settings" in names and "settings" not in told:
        told.append("settings")
    return {line.key: label(line, told) for line in lines}


def fact(line: Series, name: str) -> str:
    """The backbone of a line, or one of its varying facts."""
    return line.key[3] if name == "backbone" else line.key[5 + line.names.index(name)]


def label(line: Series, told: list[str]) -> str:
    """``us3l, cifar stem``, ``random weights``."""
    method = "random weights" if line.key[4] == "random" else line.key[4]
    parts = [TOLD.get(name, "{}").format(fact(line, name)) for name in told if fact(line, name)]
    text = printable(", ".join([method, *parts]))
    return f"\N{HAIR SPACE}{text}" if text.startswith("_") else text  # matplotlib hides what begins with an underscore


def line_styles(lines: list[Series], labels: dict[tuple[str, ...], str]) -> dict[str, dict]:
    """The style of each label. A colour is a method's, in all panels; lines of one method in one panel differ in their
    dashes and marks. Random weights are grey and dashed."""
    methods = list(dict.fromkeys(line.key[4] for line in lines))
    others = sorted(set(methods) - {*METHODS, "random"})
    free = [colour for name, colour in zip(METHODS, COLOURS) if name not in methods] or COLOURS
    colours = dict(zip(METHODS, COLOURS)) | {name: free[i % len(free)] for i, name in enumerate(others)}
    taken: dict[tuple[str, ...], set[int]] = {}  # by panel and method
    found = {}
    for label in dict.fromkeys(labels[line.key] for line in lines):
        places = [(*line.key[:3], line.key[4]) for line in lines if labels[line.key] == label]
        number = next(i for i in itertools.count() if all(i not in taken.get(place, ()) for place in places))
        for place in places:
            taken.setdefault(place, set()).add(number)
        if places[0][3] == "random":
            found[label] = RANDOM | {"marker": MARKS[1:][number % (len(MARKS) - 1)]}
        else:
            line = {"color": colours[places[0][3]], "linestyle": LINES[number % len(LINES)], "markersize": 5.5}
            found[label] = line | {"marker": MARKS[number % len(MARKS)]}
    return found


def si(count: float) -> str:
    """``37 M``, ``2.8 M``, ``4.1 G``."""
    value, unit = (count / 1e9, "G") if count >= 1e9 else (count / 1e6, "M")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
