"""Accuracy against latency: a line for each runtime over the widths, a bubble as large as its files."""

from pathlib import Path

from transfer.devices.latency import Latency
from transfer.devices.variants import is_int8, runtime_of
from transfer.plots import COLOURS, fitting_legend, new_figure, save
from transfer.runtimes import RUNTIMES

LARGEST = 700  # square points of the largest bubble


def draw(found: list[Latency], where: dict):
    """A matplotlib Figure of the first batch. Within ``plots.styled``."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure = new_figure(5.2, 5.6)
    axis = figure.subplots()
    batch = where["batches"][0]
    variants = list(dict.fromkeys(variant for row in found for variant in row.timings))
    most = max((size for row in found for size in row.sizes.values()), default=1)
    leftmost: dict[tuple[float, float], float] = {}
    for variant in variants:
        rows = [row for row in found if variant in row.timings and row.top1.get(variant) is not None]
        colour = COLOURS[list(RUNTIMES).index(runtime_of(variant)) % len(COLOURS)]
        x, y = ([row.timings[variant][batch].median for row in rows], [row.top1[variant] for row in rows])
        axis.plot(x, y, color=colour, linestyle="--" if is_int8(variant) else "-", linewidth=1.4, label=variant)
        areas = [LARGEST * row.sizes[variant] / most for row in rows]
        axis.scatter(x, y, s=areas, color=colour, alpha=0.35, linewidths=0)
        for row, here, there in zip(rows, x, y):
            leftmost[row.width, there] = min(here, leftmost.get((row.width, there), here))
    for (width, top1), here in leftmost.items():  # once where runtimes agree: their names would lie upon each other
        axis.annotate(
            f"{width:g}", (here, top1), (-15, 0), textcoords="offset points", ha="right", va="center", color="#606060"
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel(f"ms for {batch} image{'s' if batch > 1 else ''} of {where['image_size']} px")
    axis.set_ylabel("kNN top-1 on validation images (%)")
    axis.grid(color="#808080", alpha=0.25, linewidth=0.8)
    axis.margins(0.2, 0.12)
    if variants:
        fitting_legend(figure, 2)
    axis.set_title(f"Bubbles: bytes of the files, at most {most / 1e6:.1f} MB;\nbeside them: the width", fontsize=11)
    return figure


def save_latencies(found: list[Latency], where: dict, folder: Path) -> list[Path]:
    """folder/latency.png and .svg."""
    return save(lambda: draw(found, where), folder / "latency", **{"font.size": 12})
