"""LaTeX tables compile as they stand, alone and inside another document, whatever characters are in them."""

import string
import subprocess
from dataclasses import asdict

import pytest

from tests.requirements import requires
from transfer.tables import NAMES, build, render, render_all
from transfer.tables.latex import escape
from transfer.tables.table import Cell, Table

NASTY = [
    *[f"[{c}] a{c}b" for c in string.punctuation], "\\\\", "%50", "*star", "[0pt]", "é – ± × − τ", "日本", "a\nb",
    "$x_1^2$", "--", "\\input{x}",
]  # fmt: skip


@pytest.fixture
def nasty():
    rows = [([text, text], [Cell(text, text, 1.0), Cell(value=2.0, ours="2.0 ± 0.1")]) for text in NASTY]
    return Table("nasty", "100 % of $x_1$ & {more}.", ["a_b", "#"], ["^", "~"], rows, compare=())


def compiled(folder, name: str) -> str:
    """What pdflatex says of a file; the test fails if it cannot compile it."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / f"{name}.pdf").stat().st_size > 1000
    return done.stdout


def test_the_best_is_bold_and_the_second_underlined():
    rows = [
        (["a"], [Cell("9.0 ± 0.2", "8.0", 9.0), Cell("1.0", value=1.0)]),
        (["b"], [Cell("7.0", "9.9", 7.0), Cell()]),
        (["c"], [Cell("5.0", None, 5.0), Cell("1.0", value=1.0)]),
    ]
    text = render(Table("t", "T.", ["m"], ["1", "2"], rows, compare=()), "latex")
    assert r"a & \textbf{9.0 $\pm$ 0.2} (8.0) & 1.0 \\" in text, "two that look alike are no best"
    assert r"b & \underline{7.0} (9.9) & -- \\" in text
    assert r"c & 5.0 & 1.0 \\" in text and "Bold is the best of those that are compared" in text


def test_special_characters_are_escaped_into_ascii():
    assert escape("a_b & 50 % ± {x}") == r"a\_b \& 50 \% $\pm$ \{x\}"
    assert escape("[é]日") == "{[}e]{[}U+65E5{]}"
    assert all(escape(text).isascii() and "\n" not in escape(text) for text in NASTY)


@requires("latex")
def test_a_table_of_special_characters_compiles(nasty, tmp_path):
    (tmp_path / "nasty.tex").write_text(render(nasty, "latex"))
    said = compiled(tmp_path, "nasty")
    assert "Overfull" not in said and "Output written" in said


@requires("latex")
def test_every_table_compiles_alone_together_and_inside_another_document(make_result, tmp_path):
    records = [asdict(make_result(width=width, seed=seed)) for width in (1.0, 0.5) for seed in (0, 1)]
    tables = [build(name, records, name != "widths") for name in NAMES]
    (tmp_path / "all.tex").write_text(render_all(tables, "latex"))
    said = compiled(tmp_path, "all")
    assert "Overfull" not in said
    for name in ("2", "figure3"):
        (tmp_path / f"table_{name}.tex").write_text(render(tables[NAMES.index(name)], "latex"))
    compiled(tmp_path, "table_2")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
        "Before. \\input{table_2.tex} \\input{table_figure3.tex} After, Table~\\ref{tab:figure3}.\n\\end{document}\n"
    )
    compiled(tmp_path, "paper")
    assert "After" not in (tmp_path / "paper.log").read_text()
    compiled(tmp_path, "paper")
    assert "undefined" not in (tmp_path / "paper.log").read_text()
