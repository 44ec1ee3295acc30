"""Tests that must not share the machine: ``@pytest.mark.alone`` on those that measure time or take every core.

Several pytest-xdist workers run tests at once. A test that is alone waits until the others have ended their present
test and holds them until it has finished. Two file locks in a folder that the workers share do this: every test passes
through the gate; an ordinary one then shares the floor, a test that is alone keeps the gate and takes the whole floor.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: no other test runs at the same time, see tests/alone.py")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    folder = shared_folder(item.config)
    if folder is None:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with (
        locked(folder / "gate", fcntl.LOCK_EX) as gate,
        locked(folder / "floor", fcntl.LOCK_EX if alone else fcntl.LOCK_SH),
    ):
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


def shared_folder(config: pytest.Config) -> Path | None:
    """A folder that all workers of this run see and no other run; None where tests run one after another."""
    if not hasattr(config, "workerinput"):
        return None
    return config._tmp_path_factory.getbasetemp().parent


@contextmanager
def locked(path: Path, operation: int) -> Iterator[int]:
    """Hold a lock on a file; yields its descriptor."""
    with path.open("w") as file:
        fcntl.flock(file, operation)
        yield file.fileno()
