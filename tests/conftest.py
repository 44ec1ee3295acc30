"""What every test can use; the plugins explain themselves."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester", "tests.requirements", "tests.alone"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT
