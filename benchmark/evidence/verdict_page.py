"""The verdict for people: one table, one sentence for each comparison, and one picture."""

import statistics
from pathlib import Path

from benchmark.evidence.verdict import GIVEN, OURS, RANDOM, Question, Row, Scores
from pretrain.common.files import make_folder, write_text
from transfer.plots import COLOURS, fitting_legend, styled
from transfer.tables import render
from transfer.tables.table import Cell, Table

NAMES = {RANDOM: "random weights", GIVEN: "given weights", OURS: "this checkpoint"}


def table(question: Question, rows: list[Row], metric: str) -> Table:
    """Means by system, and the paired differences."""
    others = [system for system in question.systems if system != OURS]
    title = (
        f"{metric} in percent, mean over {len(question.seeds)} seed(s), and paired differences ± standard error; "
        "'seen' is more than two errors above 0."
    )
    columns = [*(NAMES[system] for system in question.systems), *(f"less {NAMES[system]}" for system in others)]
    found = Table("verdict", title, ["labels", "width"], columns)
    for row in rows:
        figures = [Cell(f"{row.means[system]:.1f}") for system in question.systems]
        found.rows.append(
            ([f"{100 * row.labels:g} %", f"{row.width:g}"], [*figures, *(Cell(str(row.against[o])) for o in others)])
        )
    return found


def sentences(question: Question, rows: list[Row]) -> list[str]:
    """Whether it helped: in how many rows against each other system."""
    found = []
    for other in question.systems[:-1]:
        verdicts = [row.against[other].verdict for row in rows]
        seen, against = verdicts.count("seen"), verdicts.count("contradicted")
        if len(question.seeds) < 2:
            said = "one seed cannot tell; expected --seeds 0 1 2"
        elif seen == len(rows):
            said = "yes, in every row"
        elif against == len(rows):
            said = "no, it hurt in every row"
        else:
            said = f"seen in {seen} of {len(rows)} rows, the contrary in {against}"
        found.append(f"Did it help, against {NAMES[other]}? {said[0].upper()}{said[1:]}.")
    return found


def write(question: Question, rows: list[Row], scores: Scores, metric: str, notes: list[str]) -> tuple[Path, Path]:
    """``verdict.md`` and ``verdict.svg`` in the output; notes: lines that belong with the figures."""
    page, picture = question.output / "verdict.md", question.output / "verdict.svg"
    answers = [f"- {line}" for line in (*sentences(question, rows), *notes)]
    make_folder(page.parent)
    draw(question, scores, metric, picture)
    write_text(page, "\n".join([render(table(question, rows, metric), "markdown"), *answers, ""]))
    return page, picture


def draw(question: Question, scores: Scores, metric: str, path: Path) -> None:
    """An SVG: a panel for each share of the labels, accuracy against width, bars of one standard deviation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares, widths = sorted(question.labels), sorted(question.widths)
    with styled("verdict"):
        figure = Figure(figsize=(0.8 + 3.2 * len(shares), 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(shares), squeeze=False, sharey=True)[0]
        for axis, share in zip(axes, shares, strict=True):
            for colour, system in zip(COLOURS, question.systems):
                values = [list(scores[share, width, system].values()) for width in widths]
                spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in values]
                axis.errorbar(
                    widths, [statistics.fmean(v) for v in values], spread, color=colour, marker="o", capsize=3,
                    label=NAMES[system] if axis is axes[0] else None,
                )  # fmt: skip
            axis.set_title(f"{100 * share:g} % of the labels", fontsize=10)
            axis.set_xticks(widths, [f"{width:g}" for width in widths])
            axis.set_xlabel("width")
            axis.grid(axis="y", alpha=0.3)
        axes[0].set_ylabel(f"{metric}, percent")
        fitting_legend(figure, 3)
        figure.savefig(path, metadata={"Date": None})
