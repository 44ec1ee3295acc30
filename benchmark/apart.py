"""A call that is made in a process of its own, started with less in its environment; for taking turns with others."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def apart(
    make: Callable[..., Callable[[], object]], *arguments: object, without: Iterable[str] = ()
) -> Iterator[Callable[[], None]]:
    """A function that has ``make(*arguments)`` called in the other process, and waits for it.

    make: of a module, so that the process can import it; it is called there once. without: variables that the process
    starts without. Errors: what the call or ``make`` raises is raised here.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, make, arguments), daemon=True)
    with lacking(without):
        process.start()
    there.close()
    try:
        answered(here)

        def call() -> None:
            here.send(True)
            answered(here)

        yield call
    finally:
        here.close()
        process.join()


def serve(connection: Connection, make: Callable[..., Callable[[], object]], arguments: tuple) -> None:
    """Make the call's function, then call it whenever asked, until nobody can ask. Answers are errors, or None."""
    try:
        call = make(*arguments)
        connection.send(None)
        while connection.recv():
            call()
            connection.send(None)
    except EOFError:
        return
    except Exception as error:
        connection.send(error)


def answered(connection: Connection) -> None:
    """Wait for the other process's answer; raise it if it is an error."""
    try:
        error = connection.recv()
    except EOFError:
        raise RuntimeError("the other process ended before it answered; was there not enough memory?") from None
    if error is not None:
        raise error


@contextmanager
def lacking(names: Iterable[str]) -> Iterator[None]:
    """The environment without ``names``; put back afterwards."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= kept
