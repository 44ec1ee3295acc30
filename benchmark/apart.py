"""A call that is made in a process of its own, started with less in its environment; for taking turns with others."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback


@contextmanager
def apart(
    make: Callable[..., Callable[[], object]], *arguments: object, without: Iterable[str] = ()
) -> Iterator[Callable[[], None]]:
    """A function that makes a call in another process, and waits for it.

    make: of a module, so that the process can import it; ``make(*arguments)``, once there, gives what is called.
    without: variables that the process starts without. Errors: what ``make`` or a call raises is raised here, with
    the other process's traceback as its cause; RuntimeError where the process has ended.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, make, arguments), daemon=True)
    with lacking(without):
        process.start()
    there.close()

    def answer(*question: bool) -> None:
        try:
            for sent in question:
                here.send(sent)
            error = here.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError("a process ended before it answered; was there not enough memory?") from None
        if error is not None:
            raise error

    try:
        answer()  # to the start
        yield lambda: answer(True)
    finally:
        here.close()
        process.terminate()
        process.join()


def serve(connection: Connection, make: Callable[..., Callable[[], object]], arguments: tuple) -> None:
    """Make what is called, then call it whenever asked, until nobody can ask. Answers are errors, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted program ends its processes itself
    try:
        call = make(*arguments)
        connection.send(None)
        while connection.recv():
            call()
            connection.send(None)
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        connection.send(ExceptionWithTraceback(error, error.__traceback__))


@contextmanager
def lacking(names: Iterable[str]) -> Iterator[None]:
    """The environment without ``names``; put back afterwards."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= kept
