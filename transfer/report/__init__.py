"""A folder of runs as one HTML page that needs nothing else: tables that sort, plots, curves, links to the logs."""

from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import write_text
from transfer.report.curves import read_runs
from transfer.report.page import page
from transfer.results import FILE_NAME, located_results


def write_report(runs: Path, output: Path) -> Path:
    """Write the page about everything below ``runs`` to ``output``, whose links are relative to it, and return it.

    Errors: UserError if there is neither a result nor a pretraining below ``runs``, or if a result is damaged.
    """
    runs, output = Path(runs), Path(output)
    if not runs.is_dir():
        raise UserError(f"{runs} is no folder; expected one that holds runs")
    if output.is_dir() or output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output} is no name of a page; expected a file such as report.html")
    results = located_results(runs) if any(runs.rglob(FILE_NAME)) else []
    pretrainings = read_runs(runs)
    if not results and not pretrainings:
        raise UserError(
            f"{runs} holds neither a {FILE_NAME} nor a metrics.jsonl, which evaluations and pretraining write"
        )
    text = page(runs, output, results, pretrainings)
    return write_text(output, text)
