"""Tables 1 to 9 and Figure 3: the paper's layout, each result in the one row that it belongs to."""

import itertools
from dataclasses import asdict

import pytest

from pretrain.common.errors import UserError
from transfer.tables import build, build_all
from transfer.tables.facts import PRETRAINING
from transfer.tables.paper import LAYOUTS, criteria, read_csv
from transfer.tables.table import MISSING

YES = {"yes": True, "no": False}
# Written out, so that an exchange of two columns is seen.
COLUMNS = {"AP_bb": 11.5, "AP50_bb": 22.5, "AP75_bb": 33.5, "AP_mk": 44.5, "AP50_mk": 55.5, "AP75_mk": 66.5}
VALUES = {
    "top1": 77.5, "class_mean": 88.5, "box/AP": 11.5, "box/AP50": 22.5, "box/AP75": 33.5, "mask/AP": 44.5,
    "mask/AP50": 55.5, "mask/AP75": 66.5,
}  # fmt: skip


@pytest.fixture
def record_of(make_result):
    """A result with the facts that are wanted, and in each metric a figure of its own (``VALUES``)."""

    def make(wanted: dict[str, str], **changes) -> dict:
        pretraining: dict = {"epochs": 800.0 if wanted.get("long") == "yes" else 400.0, "seed": 0}
        if "group_reg" in wanted:
            pretraining["optimizer"] = {"alpha": 0.05 if wanted["group_reg"] == "yes" else 0.0}
        for name, path in PRETRAINING.items():
            if wanted.get(name):
                section = pretraining
                for key in path[:-1]:
                    section = section.setdefault(key, {})
                section[path[-1]] = YES.get(wanted[name], wanted[name])
        fields = {name: wanted[name] for name in ("task", "dataset", "method", "backbone") if name in wanted}
        fields["width"] = float(wanted.get("width", 1.0))
        details = {"pretraining": pretraining, "protocol": wanted.get("protocol")}
        return asdict(make_result(**{**fields, "metrics": dict(VALUES), "details": details, **changes}))

    return make


def filled(table) -> list[int]:
    """The rows that hold a figure of ours."""
    return [i for i, (_, cells) in enumerate(table.rows) if any(cell.ours != MISSING for cell in cells)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_row_takes_its_own_results_and_no_others(name, record_of):
    layout, rows = LAYOUTS[name], read_csv(f"table{name}")
    for i, row in enumerate(rows):
        wanted = criteria(name, layout, row)
        if layout.across == "dataset":
            wanted["dataset"] = "flowers"
        table = build(name, [record_of(wanted)])
        assert filled(table) == [i], f"row {row}"
        found = {column: cell.ours for column, cell in zip(table.columns, table.rows[i][1]) if cell.ours != MISSING}
        if layout.across == "metric":
            assert found == {column: str(value) for column, value in COLUMNS.items()}
        else:
            assert list(found.values()) == ["88.5" if wanted.get("dataset") == "flowers" else "77.5"]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if LAYOUTS[name].where.get("task") == "linear"])
def test_figures_of_the_fast_protocol_stay_out(name, record_of):
    layout, row = LAYOUTS[name], read_csv(f"table{name}")[0]
    wanted = criteria(name, layout, row) | {"protocol": "fast"}
    if layout.across == "dataset":
        wanted["dataset"] = "flowers"
    assert filled(build(name, [record_of(wanted)])) == []


def test_flowers_show_the_mean_of_their_classes(record_of):
    row = next(row for row in read_csv("table6") if row["method"] == "us3l")
    record = record_of(criteria("6", LAYOUTS["6"], row) | {"dataset": "flowers"})
    record["metrics"]["class_mean"] = 44.4
    assert "44.4" in [cell.ours for _, cells in build("6", [record]).rows for cell in cells]


def test_data_sets_share_a_row_if_one_network_was_evaluated_on_them(record_of):
    wanted = criteria("6", LAYOUTS["6"], next(row for row in read_csv("table6") if row["method"] == "us3l"))

    def result(dataset: str, top1: float, epochs: int = 100, **settings) -> dict:
        record = record_of(wanted | {"dataset": dataset}, metrics={"top1": top1, "class_mean": top1})
        record["details"]["pretraining"]["epochs"] = epochs
        record["details"]["settings"] = settings
        return record

    def said(*records: dict) -> dict[str, list[str]]:
        table = build("6", list(records))
        place = table.labels.index("settings") if "settings" in table.labels else None
        found = {}
        for labels, cells in table.rows:
            if figures := [cell.ours for cell in cells if cell.ours != MISSING]:
                found["" if place is None else labels[place]] = figures
        return found

    assert said(result("cifar10", 50.0), result("dtd", 33.0)) == {"": ["50.0", "33.0"]}
    other = said(result("cifar10", 50.0), result("flowers", 91.0, epochs=800))
    assert other == {"epochs 100": ["50.0"], "epochs 800": ["91.0"]}
    fewer = said(result("cifar10", 50.0), result("dtd", 33.0, labels=0.1))
    assert fewer == {"labels 1": ["50.0"], "labels 0.1": ["33.0"]}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_and_figures_of_the_paper(name):
    rows, table = read_csv(f"table{name}"), build(name, [], with_paper=True)
    assert sorted([*table.labels, *table.columns]) == sorted(rows[0])
    for row, (labels, cells) in zip(rows, table.rows, strict=True):
        assert labels == [row[label] for label in table.labels]
        assert [cell.paper for cell in cells] == [row[column] for column in table.columns]
        assert all(cell.ours == MISSING for cell in cells)


def test_known_cells_of_the_paper():
    def cell(name: str, column: str, **labels) -> str:
        table = build(name, [], with_paper=True)
        [cells] = [c for row, c in table.rows if labels.items() <= dict(zip(table.labels, row)).items()]
        return cells[table.columns.index(column)].paper

    assert cell("2", "0.25", backbone="resnet18", method="us3l") == "60.4"
    assert cell("5", "AP_mk", width="1.0", method="us3l") == "33.6"
    assert cell("6", "pets", width="0.5", method="byol") == "75.0"
    assert cell("7", "1.0", case="13") == "67.7"
    assert cell("8", "0.3", backbone="resnet50", dynamic_sampling="yes", group_reg="yes") == "67.7"


def test_an_ablation_called_us3l_is_not_us3l_itself(record_of):
    row = next(r for r in read_csv("table2") if r["method"] == "us3l")
    wanted = criteria("2", LAYOUTS["2"], row)
    assert filled(build("2", [record_of(wanted)]))
    for ablated in ("dynamic_sampling", "group_reg"):
        assert not filled(build("2", [record_of({**wanted, ablated: "no"})]))


def test_a_network_pretrained_elsewhere_fills_no_cell(record_of):
    row = read_csv("table2")[0]
    wanted = criteria("2", LAYOUTS["2"], row)
    assert not filled(build("2", [record_of({**wanted, "pretrained_on": "digits"})]))


def test_seeds_are_averaged_in_a_cell(record_of):
    wanted = criteria("4", LAYOUTS["4"], read_csv("table4")[0])
    records = [record_of(wanted, seed=seed, metrics={"top1": 50.0 + seed}) for seed in (0, 2)]
    assert build("4", records).rows[0][1][0].ours == "51.0 ± 1.4"


def test_figure_3_shows_how_far_us3l_is_ahead(record_of):
    records = []
    for method, (width, ap50) in itertools.product(("byol", "us3l"), (("0.5", 70.0), ("0.25", 60.0))):
        wanted = {
            "task": "detection", "dataset": "voc", "backbone": "resnet50", "pretrained_on": "imagenet",
            "sandwich": "yes", "dynamic_sampling": "yes", "group_reg": "yes", "width": width, "method": method,
        }  # fmt: skip
        records.append(record_of(wanted, metrics={"box/AP50": ap50 + (2.5 if method == "us3l" else 0)}))
    table = build("figure3", records, with_paper=True)
    assert [[str(cell) for cell in cells] for _, cells in table.rows] == [
        [MISSING] * 4,
        [MISSING] * 4,
        [MISSING, "70.0", "72.5", "+2.5 (+2.6)"],
        [MISSING, "60.0", "62.5", "+2.5 (+18.5)"],
    ]
    for record in records:
        record["details"] |= {"framework": "detectron2", "iterations": 24_000}
        if record["method"] == "us3l":
            record["details"] |= {"framework": "mmdet", "iterations": 500}
    table = build("figure3", records, with_paper=True)
    assert table.columns[1:3] == [
        "byol (framework detectron2, iterations 24000)", "us3l (framework mmdet, iterations 500)",
    ]  # fmt: skip
    assert [str(cells[-1]) for _, cells in table.rows[2:]] == [f"{MISSING} (+2.6)", f"{MISSING} (+18.5)"]
    assert "No difference is shown" in table.caption, "nobody is ahead by another training"


def test_methods_that_are_evaluated_by_other_settings_say_so(record_of):
    def said(**changes) -> set[str]:
        records = []
        for method in ("byol", "us3l"):
            row = next(r for r in read_csv("table5") if (r["width"], r["method"]) == ("1.0", method))
            record = record_of(criteria("5", LAYOUTS["5"], row))
            record["details"] |= {"iterations": 90_000, "learning_rate": 0.02, **(changes if method == "us3l" else {})}
            records.append(record)
        table = build("5", records)
        return {table.rows[i][0][-1] for i in filled(table)} if "settings" in table.labels else set()

    assert said() == set()
    assert said(iterations=500, learning_rate=0.01) == {"iterations 90000", "iterations 500"}
    assert said(image_size=400) == {"", "image size 400"}
    assert said(masks=False) == {"", "masks no"}


@pytest.mark.parametrize("name", ["8", "9"])
def test_other_methods_of_equal_losses_are_rows_of_their_own(name, record_of):
    """Of a table whose rows are losses: else they would be seeds of each other."""
    wanted = criteria(name, LAYOUTS[name], read_csv(f"table{name}")[0])

    def result(method: str, top1: float, seed: int) -> dict:
        record = record_of(wanted | {"method": method}, metrics={"top1": top1})
        record["details"]["pretraining"]["seed"] = seed
        return record

    ours = [result("us3l", 80.0, 0), result("us3l", 82.0, 1)]
    assert [str(build(name, ours).rows[i][1][0]) for i in filled(build(name, ours))] == ["81.0 ± 1.4"]
    both = build(name, [*ours, result("mine", 20.0, 2)])
    told = {both.rows[i][0][-1]: [c.ours for c in both.rows[i][1] if c.ours != MISSING] for i in filled(both)}
    assert told == {"us3l": ["81.0 ± 1.4"], "mine": ["20.0"]}


def test_names_of_tables(record_of):
    assert [table.name for table in build_all("all", [record_of({})])] == ["widths", *"123456789", "figure3"]
    with pytest.raises(UserError, match="unknown table 'figur3'; did you mean 'figure3'"):
        build_all("figur3", [])
    with pytest.raises(UserError, match="no figures of the paper"):
        build_all("widths", [], with_paper=True)
