"""What every command line shares: one-line errors with exit code 2, and the choice of a device."""

import argparse
import io
import os
import re
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from pretrain.common.errors import CollapsedError, NonFiniteLossError, UserError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line: wrong options and wrong data read alike."""

    def __init__(self, description: str, example: str):
        super().__init__(
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Run ``main(argv)`` and exit: 0 when done, 2 with one line for a user's mistake, 1 for a diverged run, 130 after
    Ctrl-C, and without a word, as programs in a pipe do, 141 where who read the output has left (``| head``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        main(sys.argv[1:])
        print(end="", flush=True)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _leave()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # as consoles of rich answer one
            _leave()
        raise
    except UserError as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (NonFiniteLossError, CollapsedError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _leave() -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes in the end
    sys.exit(141)


def _nobody_reads() -> bool:
    """Whether it is the standard output that is broken, and no other pipe."""
    state = select.poll()
    state.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in state.poll(0))


def _message(error: UserError) -> str:
    """The error in one line. A loader's worker process wraps it in its traceback, as what comes after the last name."""
    text = str(error).strip()
    if "\nTraceback " in text or text.startswith("Caught "):
        text = re.split(r"^[\w.]+Error: ", text, flags=re.MULTILINE)[-1]
    return " ".join(text.splitlines())


def check_least(options: argparse.Namespace, **least: int) -> None:
    """UserError for the first of the options that is given a number below its least: ``repeats=1, workers=0``."""
    for name, fewest in least.items():
        value = getattr(options, name)
        if value is not None and not value >= fewest:
            raise UserError(f"--{name.replace('_', '-')} {value} is too small; expected {fewest} or more")


def widths_argument(parser: argparse.ArgumentParser, default: list[float] | None, plans: bool = False) -> None:
    """Add ``--width``/``--widths``, the same option: one or more numbers.

    plans: or texts, which may name plans of channels by stage; ``UniversalNetwork.width`` tells.
    """
    parser.add_argument(
        "--width", "--widths", dest="widths", type=_number_or_text if plans else float, nargs="+", default=default,
        metavar="W",
        help="one or more widths in the checkpoint's range"
        + (", or plans such as r18-24.40.64.160 or files of them" if plans else "")
        + ("" if default is None else f" (default: {' '.join(map(str, default))})"),
    )  # fmt: skip


def _number_or_text(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def default_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(device: str | None) -> str:
    """``device``, or the default for None. UserError for a device that is not there."""
    if device in (None, "cpu", default_device()):
        return device or default_device()
    raise UserError(f"no device '{device}' here; expected {' or '.join(sorted({'cpu', default_device()}))}")
