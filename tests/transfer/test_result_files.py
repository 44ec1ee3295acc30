"""Any file called result.json is either shown or refused by name: never a traceback."""

import json
from dataclasses import asdict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pretrain.common.errors import UserError
from transfer.report import write_report
from transfer.results import SCHEMA_VERSION, read_result, read_results, versions
from transfer.tables import SUFFIXES, build_all, render_all

NASTY = [
    r"$\frac{1}$",
    "=cmd()",
    "+1",
    "-x",
    "@a",
    "|",
    "\\",
    "<script>",
    "\x00",
    "\x1b[0m",
    "é日",
    "_",
    "",
    "a\nb",
    "\ud800",
]
TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=8))
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(10**20, 10**400), st.floats(), TEXT)
VALUE = SCALAR | st.lists(SCALAR, max_size=3) | st.dictionaries(TEXT, SCALAR | st.lists(SCALAR, max_size=2), max_size=3)
PLACES = (
    *((name,) for name in ("schema", "task", "dataset", "method", "backbone", "width", "seed", "metrics", "params",
                           "macs", "checkpoint", "config", "seconds", "details", "versions", "unknown")),
    *(("details", name) for name in ("pretraining", "architecture", "protocol", "framework", "image_size", "target",
                                     "iterations", "settings", "calibration", "recipe", "images")),
    *(("details", "pretraining", name) for name in ("seed", "epochs", "data", "objective", "optimizer", "batch_size")),
    ("details", "pretraining", "optimizer", "alpha"), ("metrics", "top1"), ("metrics", "box/AP"),
)  # fmt: skip


@pytest.fixture(scope="module")
def valid():
    """A record as it is written."""
    pretraining = {"seed": 0, "epochs": 20.0, "data": {"name": "digits"}, "optimizer": {"alpha": 0.05}}
    return {
        "task": "linear", "dataset": "digits", "method": "us3l", "backbone": "resnet18", "width": 0.5, "seed": 0,
        "metrics": {"top1": 91.25}, "params": 10, "macs": 20, "checkpoint": "a" * 64, "config": "b" * 64,
        "seconds": 1.5, "details": {"pretraining": pretraining, "protocol": "fast"}, "schema": SCHEMA_VERSION,
        "versions": versions(),
    }  # fmt: skip


def changed(record: dict, place: tuple[str, ...], value: object) -> dict:
    """``record`` with ``value`` at ``place``."""
    name, *inner = place
    old = record.get(name)
    return {**record, name: changed(old if isinstance(old, dict) else {}, tuple(inner), value) if inner else value}


def read_or_refused(path) -> dict | None:
    try:
        return read_result(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error), "named, in one line"
        return None


@given(st.sampled_from(PLACES), VALUE)
@example(("seconds",), float("nan"))
@example(("details", "pretraining", "epochs"), "many")
@example(("details", "pretraining"), [3])
@example(("details",), {"x": 10**400})
@example(("details", "target"), [])
def test_a_record_with_any_value_at_any_place_is_shown_or_refused(valid, tmp_path, place, value):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(changed(valid, place, value)), encoding="utf-8")
    record = read_or_refused(path)
    if record is not None:
        other = changed(valid, ("dataset",), "another")
        tables = [*build_all("widths", [record, other]), *build_all("2", [record, other])]
        for form in SUFFIXES:
            assert render_all(tables, form).encode()
        assert any("another" in labels for labels, _ in tables[0].rows), "the others are still there"


@given(st.one_of(st.binary(max_size=60), VALUE.map(lambda value: json.dumps(value).encode()), st.integers(1, 10**5)
                 .map(lambda depth: b"[" * depth)))  # fmt: skip
def test_any_bytes_are_refused_by_name(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    assert read_or_refused(path) is None


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_still_a_result(valid, tmp_path, place, byte):
    content = bytearray(json.dumps(valid).encode())
    content[place % len(content)] = byte
    path = tmp_path / "result.json"
    path.write_bytes(content)
    read_or_refused(path)


@pytest.mark.parametrize("name", [name for name in NASTY if name and name != "\ud800"])
def test_whatever_things_are_called_the_report_shows_it(make_result, tmp_path, name):
    make_result(method=name, dataset=name, backbone=name, details={"protocol": name}).write(tmp_path / "x")
    text = write_report(tmp_path, tmp_path / "report.html").read_text()
    assert "<script>" not in text.replace("<script>\n//", "") and "\x00" not in text and "\x1b" not in text


def test_what_is_no_unicode_is_escaped_where_it_is_written_and_refused_where_it_is_read(make_result, tmp_path):
    path = make_result(dataset="photos\udcff").write(tmp_path)
    assert [record["dataset"] for record in read_results(tmp_path)] == [r"photos\udcff"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "dataset": "photos\udcff"}))
    assert read_or_refused(path) is None


@pytest.mark.parametrize("cell", ["=1+1", "+x", "-x", "@sum", "=cmd|' /C calc'!A0"])
def test_a_spreadsheet_takes_no_name_for_a_formula(make_result, cell):
    text = render_all(build_all("widths", [asdict(make_result(method=cell))]), "csv")
    assert f"'{cell}" in text and f",{cell}" not in text


def test_signed_numbers_stay_numbers_in_csv():
    from transfer.tables.table import harmless

    numbers = ("-1.5", "+2.5", "-1.5 ± 0.2", "-", "0.5")
    assert [harmless(number) for number in numbers] == list(numbers)
