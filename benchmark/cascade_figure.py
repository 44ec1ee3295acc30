"""Accuracy of cascades against their mean latency, beside the widths alone; to be read on a phone too."""

from pathlib import Path

from transfer.plots import COLOURS, fitting_legend, new_figure, save

NAMED = (25, 50, 75)  # percent of images asked twice, near which the picture names the confidence


def draw(found: dict):
    """A matplotlib Figure of what ``benchmark.cascade.measure`` found. Within ``plots.styled``."""
    figure = new_figure(5.2, 4.8)
    axis = figure.subplots()
    names = list(dict.fromkeys(row["network"] for row in found["rows"] if row["confidence"] is not None))
    uniform = sorted((row for row in found["rows"] if row["confidence"] is None), key=lambda row: row["milliseconds"])
    x, y = ([row[key] for row in uniform] for key in ("milliseconds", "top1"))
    axis.plot(x, y, color=COLOURS[0], marker="o", markersize=7, linewidth=2, label="one width for all images")
    for row in uniform:
        axis.annotate(
            row["network"].removeprefix("width "), (row["milliseconds"], row["top1"]), (-6, 6),
            textcoords="offset points", color=COLOURS[0], ha="right",
        )  # fmt: skip
    for colour, name in zip(COLOURS[1:], names):
        rows = [row for row in found["rows"] if row["network"] == name]
        x, y = ([row[key] for row in rows] for key in ("milliseconds", "top1"))
        axis.plot(x, y, color=colour, marker=".", markersize=7, linewidth=2, label=f"{name} below the confidence")
        for share in NAMED:
            row = min(rows, key=lambda row: abs(row["asked_twice"] - share))
            axis.annotate(
                f"{row['confidence']:g}", (row["milliseconds"], row["top1"]), (3, -14), textcoords="offset points",
                color=colour,
            )  # fmt: skip
    axis.set_xlabel(f"ms an image of {found['image_size']} px, mean ({found['runtime']}, {found['threads']} thread)")
    axis.set_ylabel("top-1 of a linear head, percent")
    axis.grid(color="#808080", alpha=0.25, linewidth=0.8)
    axis.margins(0.17, 0.12)
    fitting_legend(figure, 1)
    return figure


def save_cascade(found: dict, folder: Path) -> None:
    """folder/cascade.png and .svg."""
    save(lambda: draw(found), folder / "cascade", **{"font.size": 12})
