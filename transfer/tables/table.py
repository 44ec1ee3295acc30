"""A table of text and its three forms: markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from dataclasses import dataclass, field

from pretrain.errors import UserError, nearest

MISSING = "–"
SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv"}


@dataclass(frozen=True)
class Cell:
    """Our figure and, where it is asked for, the paper's."""

    ours: str = MISSING
    paper: str | None = None

    def __str__(self) -> str:
        return self.ours if self.paper is None else f"{self.ours} ({self.paper})"


@dataclass
class Table:
    """labels: names of the columns that say what a row is. columns: names of the columns of figures."""

    name: str
    title: str
    labels: list[str]
    columns: list[str]
    rows: list[tuple[list[str], list[Cell]]] = field(default_factory=list)

    @property
    def has_paper(self) -> bool:
        return any(cell.paper is not None for _, cells in self.rows for cell in cells)

    @property
    def caption(self) -> str:
        return f"{self.title} In brackets: the paper's figures." if self.has_paper else self.title


def render(table: Table, form: str) -> str:
    """The table as text that ends in a newline. form: ``markdown``, ``latex`` or ``csv``."""
    forms = {"markdown": markdown, "latex": latex, "csv": comma_separated}
    if form not in forms:
        raise UserError(f"unknown format '{form}'{nearest(form, forms)}")
    return forms[form](table)


def markdown(table: Table) -> str:
    """A pipe table, padded so that it reads as plain text too; figures are flush right."""
    header = [*table.labels, *table.columns]
    rows = [[*labels, *map(str, cells)] for labels, cells in table.rows]
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    sizes = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    count = len(table.labels)

    def line(row: list[str]) -> str:
        padded = [f"{text:<{n}}" if i < count else f"{text:>{n}}" for i, (text, n) in enumerate(zip(row, sizes))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * n if i < count else "-" * (n - 1) + ":" for i, n in enumerate(sizes)]
    return "\n".join([f"**{table.caption}**", "", line(header), line(rule), *map(line, rows)]) + "\n"


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", MISSING: "--", "−": "$-$", "×": r"$\times$",
}  # fmt: skip


def escape(text: str) -> str:
    """``text`` for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def latex(table: Table) -> str:
    """A table environment; the preamble needs \\usepackage{booktabs}."""

    def line(row: list[str]) -> str:
        return f"  {' & '.join(map(escape, row))} \\\\"

    rows = [line([*labels, *map(str, cells)]) for labels, cells in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{escape(table.caption)}}}",
            f"  \\label{{tab:{table.name}}}",
            f"  \\begin{{tabular}}{{{'l' * len(table.labels)}{'r' * len(table.columns)}}}",
            r"  \toprule",
            line([*table.labels, *table.columns]),
            r"  \midrule",
            *rows,
            r"  \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def comma_separated(table: Table) -> str:
    """CSV; the paper's figures have columns of their own, missing figures are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    extra = [f"paper {name}" for name in table.columns] if table.has_paper else []
    writer.writerow([*table.labels, *table.columns, *extra])
    for labels, cells in table.rows:
        ours = ["" if cell.ours == MISSING else cell.ours for cell in cells]
        writer.writerow([*labels, *ours, *((cell.paper or "") for cell in cells if extra)])
    return text.getvalue()
