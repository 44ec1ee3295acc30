"""The page's text: HTML without anything to fetch."""

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from transfer.plots import draw, figure_3_series
from transfer.report.curves import Run, draw_run
from transfer.report.svg import inline_svg
from transfer.tables import NAMES, build
from transfer.tables.facts import facts
from transfer.tables.ranking import marks
from transfer.tables.table import Table
from transfer.tables.widths import series

HERE = Path(__file__).parent
LABELS = ("task", "data", "backbone", "method", "protocol")
# nothing may be fetched: what is not in the page is not there
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
# what a run or an evaluation leaves beside its result that a reader may want to open
LOGS = (
    "result.json", "metrics.jsonl", "metrics.json", "log.txt", "config.json", "config.yaml", "config.py",
    "universal.safetensors",
)  # fmt: skip


def page(runs: Path, output: Path, results: list[tuple[Path, dict]], pretrainings: list[Run]) -> str:
    """The whole page. output: where it will lie; links are relative to it. results: with their paths."""
    records = [record for _, record in results]
    name = runs.resolve().name or str(runs)
    sections = [
        ("Accuracy and average precision against width", widths_section(records)),
        ("Against multiply-accumulates", plots_section(records)),
        ("Tables of the paper", paper_section(records)),
        ("Pretraining", pretraining_section(runs, output, pretrainings)),
        ("All results", results_section(output, results)),
    ]
    body = "\n".join(f"<section><h2>{escape(title)}</h2>\n{text}</section>" for title, text in sections if text)
    count = f"{len(records)} result{'s' if len(records) != 1 else ''}, {len(pretrainings)} pretraining"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(name)}</title>
<style>
{(HERE / "report.css").read_text()}</style>
</head>
<body>
<header><h1>{escape(name)}</h1>
<p>{count} run{"s" if len(pretrainings) != 1 else ""}. A click on a column's head sorts by it; bold is the best of a
group, underlined the second. – is a figure that is not there.</p></header>
<main>
{body}
</main>
<script>
{(HERE / "report.js").read_text()}</script>
</body>
</html>
"""


def widths_section(records: list[dict]) -> str:
    return table_html(build("widths", records)) if records else ""


def plots_section(records: list[dict]) -> str:
    lines = [line for line in series(records) if line.figures]
    parts = [figure_html(inline_svg(lambda: draw(lines), "macs"), "Accuracy against MACs")] if lines else []
    third = figure_3_series(records)
    if third:
        parts.append(figure_html(inline_svg(lambda: draw(third), "figure3"), "Figure 3"))
    return "\n".join(parts)


def paper_section(records: list[dict]) -> str:
    """The tables of the paper that hold at least one figure of ours, the paper's in brackets."""
    tables = [build(name, records, with_paper=True) for name in NAMES if name != "widths"]
    return "\n".join(table_html(table) for table in tables if table.has_ours)


def pretraining_section(runs: Path, output: Path, pretrainings: list[Run]) -> str:
    parts = []
    for i, run in enumerate(pretrainings):
        label = relative(run.folder, runs)
        last = run.last
        said = [f"{last['iteration']} iterations"]
        said += [f"{last['epoch']:.3g} epochs"] if "epoch" in last else []
        said += [f"{last['seconds'] / 60:.1f} min"] if "seconds" in last else []
        svg = inline_svg(lambda run=run: draw_run(run), f"run{i}")
        heading = f"<h3>{escape(label)}</h3>\n<p>{escape(', '.join(said))} · {links(run.folder, output)}</p>"
        parts.append(f"{heading}\n{figure_html(svg, f'Loss of {label}')}")
    return "\n".join(parts)


def results_section(output: Path, results: list[tuple[Path, dict]]) -> str:
    """One row a result, every metric of it, with links to what lies beside it."""
    if not results:
        return ""
    records = [record for _, record in results]
    metrics = list(dict.fromkeys(metric for record in records for metric in record["metrics"]))
    figure_columns = ["width", "seed", *metrics, "seconds"]
    rows = []
    for path, record in results:
        said = [record["task"], record["dataset"], record["backbone"], record["method"]]
        said.append(facts(record).get("protocol", ""))
        figures = [f"{record['width']:g}", str(record["seed"])]
        figures += [shown(record["metrics"].get(metric)) for metric in metrics]
        figures += [f"{record['seconds']:.1f}"]
        text = "".join([*map(cell_html, said), *map(figure_cell, map(escape, figures))])
        rows.append(f"{text}<td>{links(path.parent, output)}</td>")
    head = "".join([*map(head_html, LABELS), *(head_html(name, "figure") for name in figure_columns)])
    head += '<th scope="col">files</th>'
    return wrapped("results", "Every result.json, every metric (%).", head, rows)


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def table_html(table: Table) -> str:
    """A table whose rows can be sorted; marked figures are <b> and <u>."""
    marked = marks(table)
    rows = []
    for i, (labels, cells) in enumerate(table.rows):
        figures = []
        for j, cell in enumerate(cells):
            tag = {"best": "b", "second": "u"}.get(marked.get((i, j)))
            ours = f"<{tag}>{escape(cell.ours)}</{tag}>" if tag else escape(cell.ours)
            paper = "" if cell.paper is None else f' <span class="paper">({escape(cell.paper)})</span>'
            figures.append(figure_cell(ours + paper))
        rows.append("".join(map(cell_html, labels)) + "".join(figures))
    head = "".join([*map(head_html, table.labels), *(head_html(name, "figure") for name in table.columns)])
    return wrapped(table.name, table.caption, head, rows)


def wrapped(name: str, caption: str, head: str, rows: list[str]) -> str:
    """A table that scrolls by itself where the page is narrower."""
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table id="table-{escape(name)}"><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def head_html(name: str, kind: str = "label") -> str:
    return f'<th scope="col" class="{kind}"><button type="button">{escape(name)}</button></th>'


def figure_cell(html: str) -> str:
    return f'<td class="figure">{html}</td>'


def cell_html(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def figure_html(svg: str, label: str) -> str:
    return f'<figure role="img" aria-label="{escape(label)}">{svg}</figure>'


def links(folder: Path, output: Path) -> str:
    """Links to the files of ``LOGS`` that are in ``folder``."""
    found = [name for name in LOGS if (folder / name).is_file()]
    return " ".join(f'<a href="{escape(quote(relative(folder / name, output.parent)))}">{name}</a>' for name in found)


def relative(path: Path, start: Path) -> str:
    """``path`` seen from the folder ``start``, with slashes."""
    return Path(os.path.relpath(path, start)).as_posix()
