"""Files of one config and of many rows: addresses, merging, patterns, and what is answered where none fits."""

from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.config import load_config
from pretrain.configfile import Address, as_python, find_configs, read_config

BASE = """
training = dict(epochs=4, seed=1)
objective = dict(name="us3l", base="mse")
"""
TABLE = """
_base_ = ["_base_/base.py"]

_long = dict(training=dict(epochs=8))


def seeded(seed):
    return dict(training=dict(seed=seed))


rows = {
    "plain": {},
    "long": _long,
    "other": [_long, seeded(3), dict(objective=dict(_delete_=True, name="seed"))],
    "case2": seeded(2),
    "case10": seeded(10),
}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "_base_").mkdir()
    (tmp_path / "_base_/base.py").write_text(BASE)
    (tmp_path / "table.py").write_text(TABLE)
    (tmp_path / "alone.py").write_text('_base_ = ["_base_/base.py"]\n_own = 3\nmethod = "own"\n')
    return tmp_path


def test_an_address_is_a_file_or_a_row_of_one():
    row = Address.parse("configs/pretrain/table7.py:case12")
    assert row == (Path("configs/pretrain/table7.py"), "case12") and str(row) == "configs/pretrain/table7.py:case12"
    assert row.run == Path("table7/case12")
    assert Address.parse("x/digits.py") == (Path("x/digits.py"), None) and Address.parse("digits.py").run == Path(
        "digits"
    )


def test_a_row_is_what_it_changes_of_its_file(folder):
    def row(name: str) -> dict:
        return read_config(f"{folder}/table.py:{name}")

    base = {"training": {"epochs": 4, "seed": 1}, "objective": {"name": "us3l", "base": "mse"}}
    assert row("plain") == base
    assert row("long") == {**base, "training": {"epochs": 8, "seed": 1}}
    assert row("other") == {"training": {"epochs": 8, "seed": 3}, "objective": {"name": "seed"}}
    assert row("other") == row("other"), "reading one changes nothing of it"


def test_what_is_a_files_own_is_no_setting(folder):
    assert read_config(folder / "alone.py")["method"] == "own" and "_own" not in read_config(folder / "alone.py")


def test_patterns_find_files_and_rows_in_their_order(folder):
    def found(pattern: str) -> list[str]:
        return [str(one.run) for one in find_configs(pattern, folder)]

    assert found("table.py:case*") == ["table/case2", "table/case10"]
    assert found("*.py") == ["alone", "table/plain", "table/long", "table/other", "table/case2", "table/case10"]
    assert found("table.py") == found("table.py:*") and found("alone.py") == ["alone"]
    assert found(f"{folder}/table.py:long") == ["table/long"]
    assert found("table.py:none") == found("none.py") == found("alone.py:case*") == found("_base_/*.py") == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("table.py", r"table.py has 5 rows; expected .*table.py:ROW with one of plain, long, other, case2, case10"),
        ("table.py:csae2", r"table.py has no row 'csae2'; did you mean 'case2'\?"),
        ("alone.py:case2", r"alone.py has no rows; expected .*alone.py without ':case2'"),
        ("tabel.py:case2", r"no such config: .*tabel.py; did you mean 'table'\?"),
        ("nowhere/table.py", r"no such config: .*nowhere/table.py$"),
    ],
)
def test_an_address_that_fits_nothing_names_what_does(folder, address, message):
    with pytest.raises(UserError, match=message):
        read_config(f"{folder}/{address}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 3", "rows is '3'; expected a dictionary"),
        ('rows = {"a": 3}', "the row 'a' is '3'; expected dictionaries of settings"),
        ('x = 1\nrows = {"a": dict(x=dict(y=1))}', "broken.py:a does not fit to its file: "),
        ("x = 1 / 0", "broken.py is no valid config: division by zero"),
        ("import nothing_of_that_name", "broken.py is no valid config: No module named"),
        ("x = (", "broken.py is no valid config: "),
        ('_base_ = ["none.py"]', "broken.py is no valid config: "),
        ('_base_ = ["broken.py"]', "broken.py is no valid config: it inherits from itself, by way of its _base_"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, text, message):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UserError) as raised:
        read_config(f"{tmp_path}/broken.py:a")
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["us3l_resnet18_digits.py", "table3.py:vit_tiny_us3l", "table1.py:supervised_s_net"])
def test_a_config_that_is_written_out_is_the_same_config(repository, tmp_path, name):
    config = load_config(repository / "configs/pretrain" / name, [])
    (tmp_path / "shown.py").write_text(as_python(config.as_dict()))
    assert load_config(tmp_path / "shown.py", []) == config
