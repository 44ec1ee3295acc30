"""Tables from result.json files: against width, or with the rows and columns of the paper."""

from pretrain.common.errors import UserError, nearest
from transfer.tables.latex import document
from transfer.tables.paper import LAYOUTS, figure_3, paper_table
from transfer.tables.table import Table, comma_separated, markdown
from transfer.tables.widths import widths_table

NAMES = ("widths", *LAYOUTS, "figure3")
SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv"}
__all__ = ["NAMES", "SUFFIXES", "Table", "build", "build_all", "render", "render_all"]


def build(name: str, records: list[dict], with_paper: bool = False) -> Table:
    """One table of ``records`` (transfer.results.read_results). name: one of ``NAMES``."""
    if name not in NAMES:
        raise UserError(f"unknown table '{name}'{nearest(name, [*NAMES, 'all'])}")
    if name == "widths":
        return widths_table(records)
    return figure_3(records, with_paper) if name == "figure3" else paper_table(name, records, with_paper)


def build_all(names: str, records: list[dict], with_paper: bool = False) -> list[Table]:
    """The table called ``names``, or all of them for ``all``."""
    if names == "widths" and with_paper:
        raise UserError("the table of widths has no figures of the paper beside it; expected --table 1 to 9 or figure3")
    return [build(name, records, with_paper) for name in (NAMES if names == "all" else (names,))]


def render(table: Table, form: str) -> str:
    """The table as text that ends in a newline. form: ``markdown``, ``latex`` (a document that compiles) or ``csv``."""
    return render_all([table], form)


def render_all(tables: list[Table], form: str) -> str:
    """Several tables as one text; in LaTeX one document."""
    if form not in SUFFIXES:
        raise UserError(f"unknown format '{form}'{nearest(form, SUFFIXES)}")
    if form == "latex":
        return document(tables)
    return "\n".join(map(markdown if form == "markdown" else comma_separated, tables))
