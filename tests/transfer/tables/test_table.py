"""The three forms of a table."""

import csv
import io

import pytest

from pretrain.common.errors import UserError
from transfer.tables import render
from transfer.tables.table import Cell, Table


@pytest.fixture
def table():
    rows = [
        (["us+mse_x", "50%"], [Cell("69.0 ± 0.2", "68.9"), Cell()]),
        (["random", ""], [Cell("1.5"), Cell("2.5", "-")]),
    ]
    return Table("2", "Table 2. Accuracy.", ["method", "share"], ["1.0", "0.5"], rows)


def test_markdown_lines_up_and_shows_what_is_missing(table):
    lines = render(table, "markdown").splitlines()
    assert lines[0] == "**Table 2. Accuracy. In brackets: the paper's figures.**"
    assert lines[4] == "| us+mse_x | 50%   | 69.0 ± 0.2 (68.9) |       – |"
    assert len({len(line) for line in lines[2:]}) == 1
    assert [cell.strip("- ") for cell in lines[3].strip("|").split("|")] == ["", "", ":", ":"], "figures flush right"


def test_latex_is_booktabs_with_every_special_character_escaped(table):
    text = render(table, "latex")
    for command in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\begin{tabular}{llrr}",
        r"\end{table}",
        r"\label{tab:2}",
    ):
        assert text.count(command) == 1
    assert r"us+mse\_x & 50\% & 69.0 $\pm$ 0.2 (68.9) & -- \\" in text
    assert text.count("{") == text.count("}") and text.isascii()
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert [line.count("&") for line in body.splitlines() if "&" in line] == [3, 3, 3]


def test_csv_keeps_the_papers_figures_in_columns_of_their_own(table):
    header, first, second = csv.reader(io.StringIO(render(table, "csv")))
    assert header == ["method", "share", "1.0", "0.5", "paper 1.0", "paper 0.5"]
    assert first == ["us+mse_x", "50%", "69.0 ± 0.2", "", "68.9", ""]
    assert second == ["random", "", "1.5", "2.5", "", "-"]


def test_an_unknown_format_names_the_nearest(table):
    with pytest.raises(UserError, match="did you mean 'latex'"):
        render(table, "latx")
