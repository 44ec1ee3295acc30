"""LaTeX: booktabs tables that compile as they stand and that another document can \\input.

A file begins and ends with a few lines that act only where no document has begun. The best figure of a group is bold,
the second underlined; a table that is wider than the page is scaled down to it.
"""

import unicodedata

from transfer.tables.ranking import BEST, SECOND, groups, marks
from transfer.tables.table import MISSING, Table

PACKAGES = "booktabs,graphicx"
# \@nodocument is \relax once \begin{document} has been read: only then is the file part of another document.
HEAD = rf"""% Compiles as it stands. To \input it, load \usepackage{{{PACKAGES}}}.
\expandafter\ifx\csname @nodocument\endcsname\relax
\let\tablesend\relax
\else
\documentclass{{article}}
\usepackage[a4paper,landscape,margin=15mm]{{geometry}}
\usepackage{{{PACKAGES}}}
\begin{{document}}
\def\tablesend{{\end{{document}}}}
\fi
"""
FOOT = "\\tablesend\n"
EXPLAINED = "Bold is the best of those that are compared, underlined the second."
CHARACTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", MISSING: "--", "−": "$-$", "×": r"$\times$",
    "[": "{[}", "*": "{*}",  # after \\ they would begin its argument
    "…": r"\ldots{}", "→": r"$\to$", "τ": r"$\tau$", "α": r"$\alpha$",
}  # fmt: skip


def escape(text: str) -> str:
    """``text`` for LaTeX: every character shows, in plain ASCII; one that pdflatex does not know by its code point."""
    return "".join(CHARACTERS.get(character) or ascii_only(character) for character in text)


def ascii_only(character: str) -> str:
    """A printable ASCII character itself, an accented letter without its accent, a line break as a space."""
    if character.isspace():
        return " "
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return base if base.isprintable() and base else f"{{[}}U+{ord(character):04X}{{]}}"


def document(tables: list[Table]) -> str:
    """Several tables as one document."""
    return HEAD + "\n".join(map(environment, tables)) + FOOT


def environment(table: Table) -> str:
    """The table environment; a little space parts the groups of rows that are compared."""
    marked, first = marks(table), {group[0] for group in groups(table)[1:]} if table.compare else set()
    rows = []
    for i, (labels, cells) in enumerate(table.rows):
        if i in first:
            rows.append(r"  \addlinespace")
        figures = [styled(cell, marked.get((i, j))) for j, cell in enumerate(cells)]
        rows.append(line([*map(escape, labels), *figures]))
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"  \centering",
            f"  \\caption{{{escape(caption(table))}}}",
            f"  \\label{{tab:{table.name}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"  \\begin{{tabular}}{{{'l' * len(table.labels)}{'r' * len(table.columns)}}}",
            r"  \toprule",
            line(map(escape, [*table.labels, *table.columns])),
            r"  \midrule",
            *rows,
            r"  \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def caption(table: Table) -> str:
    """LaTeX numbers tables itself: the paper's number is told apart from that one."""
    text = f"The paper's {table.caption}" if table.caption.startswith(("Table ", "Figure ")) else table.caption
    return f"{text} {EXPLAINED}" if marks(table) else text


def line(cells) -> str:
    return f"  {' & '.join(cells)} \\\\"


def styled(cell, mark: str | None) -> str:
    """Our figure in its style; the paper's, in brackets, has none: it is not compared."""
    ours, command = escape(cell.ours), {BEST: r"\textbf", SECOND: r"\underline"}.get(mark)
    if command:
        ours = f"{command}{{{ours}}}"
    return ours if cell.paper is None else f"{ours} ({escape(cell.paper)})"
