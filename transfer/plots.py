"""Accuracy and average precision against multiply-accumulates: one panel a metric, one line a method."""

import math
from pathlib import Path

from pretrain.common.files import replacing
from transfer.tables.paper import FIGURE_3, figure_3_records
from transfer.tables.widths import Series, series
from transfer.targets import METRICS, TASKS

COLOURS = ("#0b6aa2", "#c8501e", "#2f8f4e", "#8a4fb0", "#a3831a")
RANDOM = {"color": "#7a7a7a", "linestyle": (0, (4, 2)), "marker": "s", "markersize": 4.5}
# how a legend says a fact
TOLD = {
    "pretrained_on": "on {}", "epochs": "{} epochs", "stem": "{} stem", "protocol": "{} protocol",
    "image_size": "{} px", "iterations": "{} iterations",
}  # fmt: skip
COLUMNS = 4
LEAST_RANGE = 1.0  # percent: an axis over less would make a picture of noise


def plot(records: list[dict], folder: Path, name: str = "accuracy_against_macs") -> list[Path]:
    """Draw ``records`` (transfer.results.read_results) into folder/<name>.png and .svg; returns both paths.

    The same records give the same SVG bytes.
    """
    return save(series(records), folder, name)


def plot_figure_3(records: list[dict], folder: Path) -> list[Path]:
    """Figure 3: AP50 on VOC against MACs, random initialisation beside BYOL and US3L; no path without results."""
    lines = figure_3_series(records)
    return save(lines, folder, "figure3") if lines else []


def figure_3_series(records: list[dict]) -> list[Series]:
    """The lines of Figure 3 that have results, from those that fill its table."""
    lines = []
    for method in FIGURE_3:
        lines += [line for line in series(figure_3_records(records, method)) if line.key[2] == "box/AP50"]
    return [line for line in lines if line.figures]


def save(lines: list[Series], folder: Path, name: str) -> list[Path]:
    """folder/<name>.png and .svg."""
    paths = [Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"]
    with styled(name), replacing(paths[0]) as png, replacing(paths[1]) as svg:
        figure = draw(lines)
        figure.savefig(png, dpi=160, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None})
    return paths


def styled(name: str, **settings):
    """matplotlib's settings while something is drawn and saved; name: makes the SVG's identifiers repeat."""
    from matplotlib import rc_context

    style = {"svg.hashsalt": name, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    return rc_context(style | settings)


def draw(lines: list[Series]):
    """A matplotlib Figure with a panel for each task, data set and metric. Call it, and save it, within ``styled``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[tuple[str, ...], list[Series]] = {}
    for line in lines:
        if line.figures:
            panels.setdefault(line.key[:3], []).append(line)
    labels = legend_labels([line for lines in panels.values() for line in lines])
    styles = line_styles(list(dict.fromkeys(labels.values())))
    columns = max(1, min(COLUMNS, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    entries = math.ceil(len(styles) / columns)
    figure = Figure(figsize=(3.4 * columns + 0.2, 3.1 * rows + 0.3 + 0.2 * entries), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (panel, lines) in zip(axes, panels.items()):
        draw_panel(axis, panel, lines, labels, styles)
    for axis in axes[len(panels) :]:
        axis.remove()
    drawn = {label: line for axis in axes[: len(panels)] for line, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(drawn.values(), drawn.keys(), loc="outside upper center", ncols=columns, frameon=False)
    return figure


def draw_panel(axis, panel: tuple[str, ...], lines: list[Series], labels: dict[tuple, str], styles: dict) -> None:
    """One metric: MACs on a logarithmic axis with a tick at each width that was evaluated."""
    task, dataset, metric = panel
    ticks: dict[int, float] = {}
    for line in lines:
        widths = sorted(line.figures)
        x = [line.macs[width] for width in widths]
        y = [line.figures[width].mean for width in widths]
        error = [line.figures[width].deviation or 0.0 for width in widths]
        label = labels[line.key]
        bars = error if any(error) else None
        axis.errorbar(x, y, yerr=bars, capsize=2.5, linewidth=1.8, label=label, **styles[label])
        ticks.update(zip(x, widths))
    axis.set_title(f"{dataset}: {TASKS[task].caption}", fontsize=10.5)
    axis.set_ylabel(f"{METRICS.get(metric, metric)} (%)")
    axis.set_xlabel("MACs of the backbone (width)")
    axis.set_xscale("log")
    axis.minorticks_off()
    if len({key[3] for key in (line.key for line in lines)}) == 1:
        shown = spaced(list(ticks))
        axis.set_xticks(shown, [f"{si(macs)}\n{ticks[macs]:g}×" for macs in shown], fontsize=9)
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
    """A name for each line by its key: the method, with as little else as tells it apart within every panel."""
    names = ("backbone", *(lines[0].names if lines else ()))
    told = [name for name in names if len({fact(line, name) for line in lines}) > 1]
    for name in reversed(told.copy()):
        fewer = [other for other in told if other != name]
        if len({(line.key[:3], label(line, fewer)) for line in lines}) == len(lines):
            told = fewer
    return {line.key: label(line, told) for line in lines}


def fact(line: Series, name: str) -> str:
    """The backbone of a line, or one of its varying facts."""
    return line.key[3] if name == "backbone" else line.key[5 + line.names.index(name)]


def label(line: Series, told: list[str]) -> str:
    """``us3l pretrained, cifar stem``, ``random weights``."""
    method = line.key[4]
    method = "random weights" if method == "random" else f"{method} pretrained"
    parts = [TOLD.get(name, "{}").format(fact(line, name)) for name in told if fact(line, name)]
    return ", ".join([method, *parts])


def line_styles(labels: list[str]) -> dict[str, dict]:
    """Random weights are grey and dashed, pretrained ones in colours; what there is more of has other marks."""
    random = [label for label in labels if label.startswith("random")]
    pretrained = [label for label in labels if not label.startswith("random")]
    found = {label: RANDOM | {"marker": "sD^vP"[i % 5]} for i, label in enumerate(random)}
    for i, label in enumerate(pretrained):
        found[label] = {
            "color": COLOURS[i % len(COLOURS)], "marker": "oXphd"[i // len(COLOURS) % 5], "markersize": 5.5,
        }  # fmt: skip
    return found


def si(count: float) -> str:
    """``37 M``, ``2.8 M``, ``4.1 G``."""
    value, unit = (count / 1e9, "G") if count >= 1e9 else (count / 1e6, "M")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
