"""A folder of runs as one HTML page that needs nothing else: tables that sort, plots, curves, links to the logs."""

from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import write_text
from transfer.report.curves import read_runs
from transfer.report.page import page
from transfer.results import FILE_NAME, say_left_out, survey


def write_report(runs: Path, output: Path) -> Path:
    """Write the page about everything below ``runs`` to ``output``, whose links are relative to it, and return it.

    A result that is damaged is named on the page and left out. Errors: UserError if there is neither a result nor a
    pretraining below ``runs``.
    """
    runs, output = Path(runs), Path(output)
    if not runs.is_dir():
        raise UserError(f"{runs} is no folder; expected one that holds runs")
    if output.is_dir() or output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output} is no name of a page; expected a file such as report.html")
    results, refused = survey(runs)
    pretrainings = read_runs(runs)
    if not results and not pretrainings:
        if refused:
            raise refused[0]
        raise UserError(
            f"{runs} holds neither a {FILE_NAME} nor a metrics.jsonl, which evaluations and pretraining write"
        )
    say_left_out(refused)
    text = page(runs, output, results, pretrainings, list(map(str, refused)))
    return write_text(output, text)
