"""Names of tables, and names of somebody's own code."""

import sys

import pytest

from pretrain.common.errors import UserError
from pretrain.common.named import named

TABLE = {"resnet18": 18, "resnet50": 50}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module ``own_things`` that can be imported, and is forgotten afterwards."""
    (tmp_path / "own_things.py").write_text("thing = 7\n")
    (tmp_path / "own_fault.py").write_text("1 / 0\n")
    (tmp_path / "own_need.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_things", "own_fault", "own_need"):
        sys.modules.pop(name, None)


def test_a_name_is_an_entry_of_the_table():
    assert named("resnet50", TABLE, "backbone") == 50
    with pytest.raises(UserError, match="^unknown backbone 'resnet51'; did you mean 'resnet50'"):
        named("resnet51", TABLE, "backbone")


def test_what_a_person_typed_is_imported(own):
    assert named("own_things:thing", TABLE, "backbone", typed=True) == 7


def test_what_a_file_says_is_imported_by_nobody(own):
    with pytest.raises(UserError, match="which is not run for a file's sake; import own_things first"):
        named("own_things:thing", TABLE, "backbone")
    assert "own_things" not in sys.modules
    named("own_things:thing", TABLE, "backbone", typed=True)
    assert named("own_things:thing", TABLE, "backbone") == 7  # it was imported by the person's own wish


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_nothing:x", "there is no module 'own_nothing'; expected its folder in PYTHONPATH"),
        ("own_things:thong", "own_things has no 'thong'; did you mean 'thing'"),
        ("own_fault:x", "importing own_fault failed: ZeroDivisionError: division by zero"),
        ("own_need:x", "importing own_need failed: No module named 'no_such_library'"),
    ],
)
def test_what_cannot_be_had_is_one_line(own, name, message):
    with pytest.raises(UserError, match=message) as error:
        named(name, TABLE, "backbone", typed=True)
    assert "\n" not in str(error.value)
