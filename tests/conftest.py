"""What every test can use; the plugins explain themselves."""

from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, and no deadline: how long one takes depends on what else the machine does.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

pytest_plugins = ["pytester", "tests.requirements", "tests.alone"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT
