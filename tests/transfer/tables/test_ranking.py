"""The best and the second best figure of what may be compared."""

from dataclasses import asdict

import pytest

from transfer.tables import build
from transfer.tables.ranking import marks
from transfer.tables.table import Cell, Table


def table(figures: list[list[float | None]], labels=None, **settings) -> Table:
    rows = [[Cell() if value is None else Cell(f"{value:.1f}", value=value) for value in row] for row in figures]
    labels = labels or ["g"] * len(rows)
    settings = {"compare": ("group",), **settings}
    columns = [str(i) for i in range(len(figures[0]))]
    return Table("t", "T.", ["group"], columns, [([label], cells) for label, cells in zip(labels, rows)], **settings)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1.0, 3.0, 2.0], {1: "best", 2: "second"}),
        ([3.0, 3.0, 2.0, 1.0], {0: "best", 1: "best", 2: "second"}),
        ([3.0, 2.0, 2.0], {0: "best", 1: "second", 2: "second"}),
        ([2.04, 2.01, 1.0], {0: "best", 1: "best", 2: "second"}),  # both are shown as 2.0
        ([2.0, 2.0], {}),  # none is better
        ([0.0, 0.0, 0.0], {}),
        ([None, 2.0, None], {}),  # nothing to be compared with
        ([None, 2.0, 1.0], {1: "best", 2: "second"}),
        ([None, None], {}),
    ],
)
def test_ties_and_gaps(column, expected):
    assert marks(table([[value] for value in column])) == {(i, 0): mark for i, mark in expected.items()}


def test_only_rows_of_one_group_are_compared():
    found = marks(table([[1.0], [9.0], [2.0], [8.0]], labels=["a", "b", "a", "b"]))
    assert found == {(2, 0): "best", (0, 0): "second", (1, 0): "best", (3, 0): "second"}


def test_columns_can_be_compared_instead_and_others_left_out():
    found = marks(table([[1.0, 5.0, 3.0, 99.0]], compare=None, compare_columns=(0, 1, 2)))
    assert found == {(0, 1): "best", (0, 2): "second"}


def test_figures_that_were_evaluated_otherwise_are_not_compared():
    mixed = table([[3.0], [1.0], [9.0]])
    mixed.rows[2] = ([*mixed.rows[2][0]], [Cell("9.0", value=9.0, evaluation="other")])
    assert marks(mixed) == {(0, 0): "best", (1, 0): "second"}


def test_a_long_training_of_a_detector_is_not_better_than_a_short_one(make_result):
    def record(method: str, box: float, iterations: int) -> dict:
        details = {"iterations": iterations, "framework": "detectron2"}
        found = make_result(task="detection", dataset="voc", method=method, metrics={"box/AP": box}, details=details)
        return asdict(found)

    short, long = [record("us3l", 30.0, 90), record("random", 20.0, 90)], record("byol", 40.0, 900)
    assert sorted(marks(build("widths", short)).values()) == ["best", "second"]
    both = build("widths", [*short, long])
    assert {str(both.rows[i][1][0]) for i, _ in marks(both)} == {"30.0", "20.0"}
    assert marks(build("widths", [short[0], long])) == {}


def test_where_more_is_not_better_nothing_is_marked():
    assert marks(table([[1.0], [2.0]], compare=None)) == {}


def test_figures_of_the_paper_are_not_compared_and_groups_are_backbones():
    rows = build("2", [], with_paper=True)
    assert marks(rows) == {} and rows.compare == ("backbone",)
