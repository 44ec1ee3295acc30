"""``tools/tables.py`` as a reader calls it."""

import runpy
import sys
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from tests.programs import tool
from transfer.results import Result


@pytest.fixture
def runs(tmp_path):
    result = Result(
        "linear", "digits", "us3l", "resnet18", 1.0, 0, {"top1": 91.25}, 11_176_512, 37_000_000, "a" * 64, "b" * 64, 1.0
    )
    result.write(tmp_path / "runs" / "digits")
    return tmp_path / "runs"


@pytest.fixture
def main(repository, runs, monkeypatch):
    """The tool's ``main`` in this process, called from the folder above ``runs``."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(runs.parent)
    return runpy.run_path(str(repository / "tools" / "tables.py"))["main"]


def test_a_table_is_printed_and_a_plot_drawn(runs):
    done = tool("tables", "runs", "--plot", cwd=runs.parent)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "| linear | digits | top-1      | resnet18 | us3l   |  91.2 |" in lines
    assert lines[-2:] == ["runs/accuracy_against_macs.png", "runs/accuracy_against_macs.svg"]
    assert (runs / "accuracy_against_macs.svg").is_file()


def test_all_tables_are_written_to_a_folder(main, capsys):
    main(["runs", "--table", "all", "--format", "latex", "--paper", "--output", "out"])
    names = ["widths", *"123456789", "figure3"]
    assert capsys.readouterr().out.splitlines() == [f"out/table_{name}.tex" for name in names]
    assert "-- (33.6)" in Path("out/table_5.tex").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["runs", "--table", "figure_3"], "unknown table 'figure_3'; did you mean 'figure3'"),
        (["nowhere"], "nowhere is no folder"),
        (["runs", "--format", "markdwon"], "markdwon"),
        (["runs", "--paper"], "no figures of the paper"),
    ],
)
def test_mistakes_are_one_line(main, options, said, capsys):
    with pytest.raises(UserError, match=said) as raised:
        main(options)
    assert "\n" not in str(raised.value) and capsys.readouterr().out == ""
