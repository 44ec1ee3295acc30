"""The page's text: HTML without anything to fetch."""

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from transfer.devices.figure import draw as draw_latency
from transfer.devices.results import latencies
from transfer.devices.table import latency_table
from transfer.plots import Look, caption_of, draw_legend, draw_one, figure_3_series, panels_of
from transfer.report.curves import MEANING, Curves, draw_panel
from transfer.report.svg import inline_svg
from transfer.tables import NAMES, build
from transfer.tables.facts import facts
from transfer.tables.ranking import marks
from transfer.tables.table import Table
from transfer.tables.widths import Series, series
from transfer.text import printable

HERE = Path(__file__).parent
# what every row of the results says -> the fact
LABELS = {
    "task": "task", "data": "dataset", "backbone": "backbone", "method": "method", "protocol": "protocol",
    "framework": "framework", "runtime": "runtime", "pretrained on": "pretrained_on",
    "epochs": "epochs", "batch": "batch",
}  # fmt: skip
# nothing may be fetched: what is not in the page is not there
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
# what a run or an evaluation leaves beside its result that a reader may want to open
LOGS = (
    "result.json", "metrics.jsonl", "metrics.json", "log.txt", "config.json", "config.yaml", "config.py",
    "universal.safetensors",
)  # fmt: skip


def page(
    runs: Path, output: Path, results: list[tuple[Path, dict]], pretrainings: list[Curves], refused: list[str]
) -> str:
    """The whole page. output: where it will lie; links are relative to it. results: with their paths. refused: what is
    wrong with results that are left out."""
    records = [record for _, record in results]
    name = runs.resolve().name or str(runs)
    sections = [
        ("Accuracy and average precision against width", widths_section(records)),
        ("Against multiply-accumulates", plots_section(records)),
        ("On devices", devices_section(records)),
        ("Tables of the paper", paper_section(records)),
        ("Pretraining", pretraining_section(runs, output, pretrainings)),
        ("All results", results_section(runs, output, results)),
        ("Left out", "".join(f"<p>{text_html(line)}</p>" for line in refused)),
    ]
    body = "\n".join(f"<section><h2>{escape(title)}</h2>\n{text}</section>" for title, text in sections if text)
    count = f"{len(records)} result{'s' if len(records) != 1 else ''}, {len(pretrainings)} pretraining"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text_html(name)}</title>
<style>
{(HERE / "report.css").read_text()}</style>
</head>
<body>
<header><h1>{text_html(name)}</h1>
<p>{count} run{"s" if len(pretrainings) != 1 else ""}. A click on a column's head sorts by it. Of figures that are
compared with each other the best is bold and the second underlined, unless all look alike. – is a figure that is not
there. ± is the standard deviation over seeds.</p></header>
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
    figures = [("macs", "Accuracy against MACs", series(records)), ("figure3", "Figure 3", figure_3_series(records))]
    return "\n".join(panels_html(name, lines) for name, _, lines in figures if any(line.figures for line in lines))


def panels_html(name: str, lines: list[Series]) -> str:
    """Each panel as a picture of its own, so that a narrow page has them below each other; then what lines mean."""
    look, parts = Look.of(lines), []
    for i, (panel, here) in enumerate(panels_of(lines).items()):
        svg = inline_svg(lambda panel=panel, here=here: draw_one(panel, here, look), f"{name}{i}")
        parts.append(figure_html(svg, caption_of(panel, here)))
    legend = inline_svg(lambda: draw_legend(look), f"{name}-legend")
    parts.append(figure_html(legend, "Bars are standard deviations over seeds." if seeds(lines) > 1 else ""))
    return f'<div class="panels">{"".join(parts)}</div>'


def devices_section(records: list[dict]) -> str:
    """Latency, accuracy and bytes of each machine that runtimes were timed on."""
    parts = []
    for i, (name, where, found) in enumerate(latencies(records)):
        svg = inline_svg(lambda where=where, found=found: draw_latency(found, where), f"latency{i}")
        parts.append(figure_html(svg, name) + table_html(latency_table(name, found, where)))
    return "\n".join(parts)


def seeds(lines: list[Series]) -> int:
    return max(line.seeds for line in lines)


def paper_section(records: list[dict]) -> str:
    """The tables of the paper that hold at least one figure of ours, the paper's in brackets."""
    tables = [build(name, records, with_paper=True) for name in NAMES if name != "widths"]
    return "\n".join(table_html(table) for table in tables if table.has_ours)


def pretraining_section(runs: Path, output: Path, pretrainings: list[Curves]) -> str:
    parts = []
    for i, run in enumerate(pretrainings):
        label = relative(run.folder, runs)
        heading = f"<h3>{text_html(label)}</h3>\n<p>{text_html(run.said)} · {links(run.folder, output)}</p>"
        figures = []
        for j, (title, names) in enumerate(run.panels.items()):
            svg = inline_svg(lambda run=run, t=title, n=names: draw_panel(run, t, n), f"run{i}-{j}")
            figures.append(figure_html(svg, MEANING.get(title, "")))
        parts.append(f'{heading}\n<div class="panels">{"".join(figures)}</div>')
    return "\n".join(parts)


def results_section(runs: Path, output: Path, results: list[tuple[Path, dict]]) -> str:
    """One row a result, every metric of it, with its path and links to what lies beside it."""
    if not results:
        return ""
    records = [record for _, record in results]
    metrics = list(dict.fromkeys(metric for record in records for metric in record["metrics"]))
    figure_columns = ["width", "seed", *metrics, "seconds"]
    rows = []
    for path, record in results:
        known = facts(record)
        figures = [f"{record['width']:g}", str(record["seed"])]
        figures += [shown(record["metrics"].get(metric)) for metric in metrics]
        figures += [f"{record['seconds']:.1f}"]
        said = [*(known.get(name, "") for name in LABELS.values())]
        text = "".join([*map(cell_html, said), *map(figure_cell, map(text_html, figures))])
        rows.append(f"{text}{cell_html(relative(path.parent, runs))}<td>{links(path.parent, output)}</td>")
    head = "".join([*map(head_html, LABELS), *(head_html(name, "figure") for name in figure_columns)])
    head += head_html("path") + '<th scope="col">files</th>'
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
            ours = f"<{tag}>{text_html(cell.ours)}</{tag}>" if tag else text_html(cell.ours)
            paper = "" if cell.paper is None else f' <span class="paper">({text_html(cell.paper)})</span>'
            figures.append(figure_cell(ours + paper))
        rows.append("".join(map(cell_html, labels)) + "".join(figures))
    head = "".join([*map(head_html, table.labels), *(head_html(name, "figure") for name in table.columns)])
    return wrapped(table.name, table.caption, head, rows)


def wrapped(name: str, caption: str, head: str, rows: list[str]) -> str:
    """A table that scrolls by itself where the page is narrower."""
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table id="table-{text_html(name)}">'
        f"<caption><span>{text_html(caption)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def head_html(name: str, kind: str = "label") -> str:
    return f'<th scope="col" class="{kind}"><button type="button">{text_html(name)}</button></th>'


def figure_cell(html: str) -> str:
    return f'<td class="figure">{html}</td>'


def cell_html(text: str) -> str:
    return f"<td>{text_html(text)}</td>"


def figure_html(svg: str, caption: str) -> str:
    below = f"<figcaption>{text_html(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>"


def text_html(text: str) -> str:
    """``text`` as it stands: no markup, no character that cannot be drawn."""
    return escape(printable(text))


def links(folder: Path, output: Path) -> str:
    """Links to the files of ``LOGS`` that are in ``folder``."""
    found = {name: relative(folder / name, output.parent) for name in LOGS if (folder / name).is_file()}
    # quoted as bytes: names of folders need not be UTF-8
    return " ".join(f'<a href="{escape(quote(os.fsencode(path)))}">{name}</a>' for name, path in found.items())


def relative(path: Path, start: Path) -> str:
    """``path`` seen from the folder ``start``, with slashes."""
    return Path(os.path.relpath(path, start)).as_posix()
