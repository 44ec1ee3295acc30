"""The plain table: figures against width, random weights beside pretrained ones, and what each width costs."""

from dataclasses import asdict

import pytest

from transfer.tables import build
from transfer.tables.table import MISSING


@pytest.fixture
def records(make_result):
    found = []
    for method, gain in (("random", 0.0), ("us3l", 8.0)):
        details = {"pretraining": None if method == "random" else {"data": {"name": "digits"}, "seed": 0, "epochs": 20}}
        for width, macs in ((1.0, 37_000_000), (0.25, 2_800_000)):
            common = {"width": width, "method": method, "macs": macs, "details": details, "params": macs // 4}
            found += [
                make_result(**common, task=task, metrics={"top1": 80 + gain + 4 * width}) for task in ("knn", "linear")
            ]
        common["macs"] = 44_000_000
        metrics = {"box/AP": 10 + gain, "box/AP50": 30.0, "mask/AP": None}
        found.append(make_result(**common, task="detection", dataset="scenes", metrics=metrics))
    return [asdict(result) for result in found]


def rows(table) -> list[list[str]]:
    return [[*labels, *map(str, cells)] for labels, cells in table.rows]


def test_rows_columns_and_costs(records):
    table = build("widths", records)
    assert table.labels == ["task", "data", "metric", "backbone", "method"] and table.columns == ["1.0", "0.25"]
    assert rows(table) == [
        ["linear", "digits", "top-1", "resnet18", "us3l", "92.0", "89.0"],
        ["linear", "digits", "top-1", "resnet18", "random", "84.0", "81.0"],
        ["knn", "digits", "top-1", "resnet18", "us3l", "92.0", "89.0"],
        ["knn", "digits", "top-1", "resnet18", "random", "84.0", "81.0"],
        ["detection", "scenes", "box AP", "resnet18", "us3l", MISSING, "18.0"],
        ["detection", "scenes", "box AP", "resnet18", "random", MISSING, "10.0"],
        ["detection", "scenes", "mask AP", "resnet18", "us3l", MISSING, MISSING],
        ["detection", "scenes", "mask AP", "resnet18", "random", MISSING, MISSING],
        ["", "", "params (M)", "resnet18", "", "9.25", "0.70"],
        ["", "digits", "MACs (M)", "resnet18", "", "37.0", "2.8"],
        ["", "scenes", "MACs (M)", "resnet18", "", MISSING, "44.0"],
    ]


def test_pretrainings_that_differ_get_rows_of_their_own(records, make_result):
    other = asdict(make_result(width=1.0, details={"pretraining": {"data": {"name": "cifar10"}, "epochs": 20}}))
    table = build("widths", [*records, other])
    assert table.labels[-1] == "pretrained on"
    assert [row[4:7] for row in rows(table)[:3]] == [
        ["us3l", "cifar10", "91.2"], ["us3l", "digits", "92.0"], ["random", "", "84.0"],
    ]  # fmt: skip


def test_one_data_set_at_two_image_sizes_has_two_rows_of_macs(records, make_result):
    large = asdict(make_result(task="detection", width=1.0, macs=900_000_000, metrics={"box/AP": 3.0}))
    costs = [row for row in rows(build("widths", [*records, large])) if row[2] == "MACs (M)" and row[1] == "digits"]
    assert [(row[0], row[5]) for row in costs] == [("knn", "37.0"), ("detection", "900.0")]
