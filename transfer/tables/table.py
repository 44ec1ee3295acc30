"""A table of text, as markdown and as CSV."""

import csv
import io
import re
from dataclasses import dataclass, field

from transfer.text import printable

MISSING = "–"
MARKUP = re.compile(r"[\\`*|<>\[\]$~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")  # an underscore within a word is none
HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?( ± \d+(\.\d+)?)?)?")


@dataclass(frozen=True)
class Cell:
    """Our figure as text and, where it is asked for, the paper's. value: ours as a number, to be compared with those of
    an equal ``evaluation``."""

    ours: str = MISSING
    paper: str | None = None
    value: float | None = None
    evaluation: str = ""

    def __str__(self) -> str:
        return self.ours if self.paper is None else f"{self.ours} ({self.paper})"


@dataclass
class Table:
    """labels: names of the columns that say what a row is. columns: names of the columns of figures.

    compare: rows with equal labels of these names are compared, column by column (transfer/tables/ranking.py); None
    where more is not better. compare_columns: numbers of columns that are compared within a row instead. notes: what
    the caption says behind the title.
    """

    name: str
    title: str
    labels: list[str]
    columns: list[str]
    rows: list[tuple[list[str], list[Cell]]] = field(default_factory=list)
    compare: tuple[str, ...] | None = None
    compare_columns: tuple[int, ...] = ()
    notes: str = ""

    @property
    def has_paper(self) -> bool:
        return any(cell.paper is not None for _, cells in self.rows for cell in cells)

    @property
    def has_ours(self) -> bool:
        return any(cell.ours != MISSING for _, cells in self.rows for cell in cells)

    @property
    def caption(self) -> str:
        paper = "In brackets: the paper's figures." if self.has_paper else ""
        return " ".join(filter(None, (self.title, self.notes, paper)))


def markdown(table: Table) -> str:
    """A pipe table, padded so that it reads as plain text too; figures are flush right."""
    header = [*table.labels, *table.columns]
    rows = [[*labels, *map(str, cells)] for labels, cells in table.rows]
    header, *rows = [[escape_markdown(text) for text in row] for row in [header, *rows]]
    sizes = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    count = len(table.labels)

    def line(row: list[str]) -> str:
        padded = [f"{text:<{n}}" if i < count else f"{text:>{n}}" for i, (text, n) in enumerate(zip(row, sizes))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * n if i < count else "-" * (n - 1) + ":" for i, n in enumerate(sizes)]
    return "\n".join([f"**{printable(table.caption)}**", "", line(header), line(rule), *map(line, rows)]) + "\n"


def comma_separated(table: Table) -> str:
    """CSV; the paper's figures have columns of their own, missing figures are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    extra = [f"paper {name}" for name in table.columns] if table.has_paper else []
    writer.writerow(map(harmless, [*table.labels, *table.columns, *extra]))
    for labels, cells in table.rows:
        ours = ["" if cell.ours == MISSING else cell.ours for cell in cells]
        writer.writerow(map(harmless, [*labels, *ours, *((cell.paper or "") for cell in cells if extra)]))
    return text.getvalue()


def escape_markdown(text: str) -> str:
    """``text`` as it stands, in a cell: no markup, no HTML, no mathematics, no new cell."""
    return MARKUP.sub(lambda found: HTML.get(found[0]) or f"\\{found[0]}", printable(text))


def harmless(text: str) -> str:
    """``text`` for a cell of CSV: a spreadsheet takes what begins with = + - or @ for a formula, unless it is a number
    or stands behind an apostrophe."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not NUMBER.fullmatch(text) else text
