"""Pretraining runs: what ``metrics.jsonl`` recorded, as curves."""

import math
from dataclasses import dataclass
from pathlib import Path

from pretrain.common.files import read_lines
from transfer.plots import COLOURS, COLUMNS

# what is no loss term of a step
OTHERS = ("iteration", "epoch", "lr", "seconds", "images_per_second", "waiting", "width", "widths")


@dataclass(frozen=True)
class Run:
    """One pretraining. lines: of ``metrics.jsonl``, in order."""

    folder: Path
    lines: list[dict]

    @property
    def panels(self) -> dict[str, list[str]]:
        """What to draw together: the loss and its terms; what is recorded of single widths as ``0.5/rank``, by what it
        is; the learning rate."""
        names = list(dict.fromkeys(name for line in self.lines for name in line if name not in OTHERS))
        names = [name for name in names if any(number(line.get(name)) for line in self.lines)]
        found: dict[str, list[str]] = {"loss": [name for name in names if "/" not in name]}
        for name in names:
            if "/" in name:
                found.setdefault(name.partition("/")[2], []).append(name)
        return {**found, "learning rate": ["lr"]}

    @property
    def last(self) -> dict:
        return self.lines[-1]


def number(value: object) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_runs(runs: Path) -> list[Run]:
    """Every ``metrics.jsonl`` below ``runs`` with at least one whole line, by path; a line cut short ends a run."""
    found = []
    for path in sorted(Path(runs).rglob("metrics.jsonl")):
        lines = [line for line in read_lines(path) if "iteration" in line]
        if lines:
            found.append(Run(path.parent, lines))
    return found


def draw_run(run: Run):
    """A matplotlib Figure with a panel for each of ``run.panels`` against iterations. Within ``plots.styled``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = run.panels
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.4 * columns + 0.2, 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (title, names) in zip(axes, panels.items()):
        for i, name in enumerate(names):
            draw_line(axis, run, name, COLOURS[i % len(COLOURS)], (0, (4, 2)) if i >= len(COLOURS) else "-")
        axis.set_title(title, fontsize=10.5)
        axis.set_xlabel("iteration")
        axis.grid(axis="y", color="#808080", alpha=0.25, linewidth=0.8)
        if len(names) > 1:
            axis.legend(frameon=False, fontsize=8)
    for axis in axes[len(panels) :]:
        axis.remove()
    return figure


def draw_line(axis, run: Run, name: str, colour: str, style) -> None:
    points = [(line["iteration"], line[name]) for line in run.lines if number(line.get(name))]
    marker = "o" if len(points) < 3 else None
    if points:
        axis.plot(*zip(*points), label=name, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=4)
