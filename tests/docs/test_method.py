"""docs/method.md names the code that computes each section and the tests that prove it, and every equation it cites."""

import ast
import re
from pathlib import Path

import pytest

SECTION = re.compile(r"^## (\d .*)$", re.MULTILINE)
NAME = re.compile(r"`([\w/.-]+\.py)(?:::(\w+))?`")
EQUATION = re.compile(r"\bEqs?\. (\d+)(?:(,| and| to) (\d+))?")
CODE = ("pretrain", "transfer", "slurm", "benchmark", "tools", "tests")


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "docs/method.md").read_text()


def sections(page: str) -> dict[str, str]:
    _, *parts = SECTION.split(page)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def equations(text: str) -> set[int]:
    """``Eq. 4``, ``Eqs. 4, 5``, ``Eqs. 8 to 11``."""
    found = set()
    for first, between, last in EQUATION.findall(text):
        numbers = {int(first), int(last or first)}
        found |= set(range(min(numbers), max(numbers) + 1)) if between.strip() == "to" else numbers
    return found


def defined(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}


def test_equations_are_found_in_every_way_of_writing_them():
    assert equations("Eq. 4; Eqs. 4, 5 and (Eqs. 8 to 11)") == {4, 5, 8, 9, 10, 11}


def test_each_section_names_what_computes_it_and_what_proves_it(page):
    for title, text in sections(page).items():
        computed, tested = text.partition("Computed by ")[2].split("Tested by ")
        assert NAME.search(computed), title
        assert all(path.startswith("tests/") for path, _ in NAME.findall(tested)) and NAME.search(tested), title


def test_every_name_exists(page, repository):
    for path, name in NAME.findall(page):
        assert (repository / path).is_file(), path
        assert not name or name in defined(repository / path), f"{path}::{name}"


def test_every_equation_that_the_code_cites_is_on_the_page(page, repository):
    here = equations(page)
    for path in (path for folder in CODE for path in (repository / folder).rglob("*.py")):
        missing = equations(path.read_text()) - here
        assert not missing, f"{path.relative_to(repository)} cites {sorted(missing)}"


def test_the_page_states_and_asks_for_nothing(page):
    assert not re.search(r"\b(ship|test it|offer it|to do|must be implemented)\b", page, re.IGNORECASE)
