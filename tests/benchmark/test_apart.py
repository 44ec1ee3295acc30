"""A call in a process of its own: what it is started with, when it is made, and what becomes of its errors."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmark.apart import apart
from pretrain.common.errors import UserError


def writer(path: Path) -> Callable[[], None]:
    """Adds a line to a file at every call: the process, and a variable of its environment."""
    return partial(write, path)


def write(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()} {os.environ.get('COLOUR')}\n")


def test_every_call_is_made_once_and_in_the_same_other_process(tmp_path, monkeypatch):
    monkeypatch.setenv("COLOUR", "red")
    with apart(writer, tmp_path / "calls", without=["COLOUR", "NO_SUCH_VARIABLE"]) as call:
        assert not (tmp_path / "calls").exists()
        for count in (1, 2):
            call()
            assert len((tmp_path / "calls").read_text().splitlines()) == count
    (process, colour), second = (line.split() for line in (tmp_path / "calls").read_text().splitlines())
    assert second == [process, colour]
    assert int(process) != os.getpid() and colour == "None"
    assert os.environ["COLOUR"] == "red"


def refuse(what: str) -> Callable[[], None]:
    raise UserError(f"no {what} here")


def refuser(what: str) -> Callable[[], None]:
    return partial(refuse, what)


def test_errors_arrive_as_what_they_are():
    with pytest.raises(UserError, match="no fish here"), apart(refuse, "fish"):
        pass
    with apart(refuser, "bread") as call, pytest.raises(UserError, match="no bread here") as caught:
        call()
    assert "in refuse" in str(caught.value.__cause__), "and say where"


def quitter() -> Callable[[], None]:
    return partial(os._exit, 1)


def test_a_process_that_ends_in_a_call_is_noticed():
    with apart(quitter) as call, pytest.raises(RuntimeError, match="ended before it answered"):
        call()


def test_a_process_that_ends_between_calls_is_noticed(tmp_path):
    with apart(writer, tmp_path / "calls") as call:
        call()
        process = int((tmp_path / "calls").read_text().split()[0])
        os.kill(process, signal.SIGKILL)
        while any(child.pid == process for child in multiprocessing.active_children()):
            time.sleep(0.01)
        with pytest.raises(RuntimeError, match="ended before it answered"):
            call()
