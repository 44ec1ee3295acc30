"""Pretraining runs: what ``metrics.jsonl`` recorded, as curves."""

from dataclasses import dataclass
from pathlib import Path

from pretrain.common.files import read_lines, read_object
from transfer.plots import COLOURS, new_figure
from transfer.results import FILE_NAME
from transfer.tables.facts import at
from transfer.text import printable

TITLES = {
    "rank": "effective rank of embeddings", "spread": "spread of embeddings", "top1": "kNN top-1 (%)",
    "learning rate": "learning rate", "loss": "loss and its terms",
}  # fmt: skip
# what the panels of single widths mean (pretrain/monitor.py)
MEANING = {
    "rank": "Effective rank: in how many directions the embeddings of a batch spread; 1 where they lie on a line.",
    "spread": "Spread: standard deviation of unit embeddings over a batch; about 1 where they fill the sphere, 0 where "
    "they are all alike.",
}
# what is no loss term of a step
OTHERS = ("iteration", "epoch", "lr", "seconds", "images_per_second", "waiting", "width", "widths")


@dataclass(frozen=True)
class Curves:
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
    def said(self) -> str:
        """Backbone, method, data, epochs, batch and seed, as config.json has them; how far it has come."""
        config, last = self.config, self.lines[-1]
        names = [("backbone", "name"), ("method",), ("data", "name"), ("training", "batch_size"), ("training", "seed")]
        said = [str(value) for name in names[:3] if (value := at(config, name)) is not None]
        said += [f"{word} {value}" for word, name in zip(("batch", "seed"), names[3:])
                 if (value := at(config, name)) is not None]  # fmt: skip
        said += [f"{last['iteration']} iterations"]
        said += [f"{last['epoch']:.3g} epochs"] if number(last.get("epoch")) else []
        said += [f"{last['seconds'] / 60:.1f} min"] if number(last.get("seconds")) else []
        return ", ".join(said)

    @property
    def config(self) -> dict:
        """What ``config.json`` beside it says; nothing where there is none, or one that cannot be read."""
        return read_object(self.folder / "config.json")


def number(value: object) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def read_runs(runs: Path) -> list[Curves]:
    """Every ``metrics.jsonl`` below ``runs`` with at least one whole line, by path, but those of evaluations."""
    found = []
    for path in sorted(Path(runs).rglob("metrics.jsonl")):
        lines = [line for line in read_lines(path) if number(line.get("iteration"))]
        if lines and not (path.parent / FILE_NAME).exists():
            found.append(Curves(path.parent, lines))
    return found


def draw_panel(run: Curves, title: str, names: list[str]):
    """One of ``run.panels`` against iterations as a matplotlib Figure. Within ``plots.styled``."""
    figure = new_figure(3.5, 2.6)
    axis = figure.subplots()
    for i, name in enumerate(names):
        draw_line(axis, run, name, COLOURS[i % len(COLOURS)], (0, (4, 2)) if i >= len(COLOURS) else "-")
    axis.set_title(TITLES.get(title, printable(title)), fontsize=10.5)
    axis.set_xlabel("iteration")
    axis.grid(axis="y", color="#808080", alpha=0.25, linewidth=0.8)
    if len(names) > 1:
        axis.legend(frameon=False, fontsize=8)
    return figure


def draw_line(axis, run: Curves, name: str, colour: str, style) -> None:
    points = [(line["iteration"], line[name]) for line in run.lines if number(line.get(name))]
    marker = "o" if len(points) < 3 else None
    width, slash, _ = name.partition("/")
    label = printable(f"width {width}" if slash else name)
    if points:
        axis.plot(*zip(*points), label=label, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=4)
