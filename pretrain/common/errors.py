"""Errors that a user can mend: the command lines print them as one line and exit with code 2."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What was wrong, what was expected and, where there is one, the nearest valid name; one line."""


class OutOfMemoryError(UserError):
    """A step does not fit into a GPU's memory: it never will, so nobody need try again."""


class UncalibratedWidthError(UserError):
    """A width was used in eval mode before its batch-norm statistics were estimated."""


class BadImageError(UserError):
    """An image that cannot be read; the message names it."""


class NonFiniteLossError(RuntimeError):
    """The loss became inf or NaN; the message names the step, the width and the last good checkpoint."""


class CollapsedError(RuntimeError):
    """A width's embeddings stayed collapsed and the run was told to stop there."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an unknown ``name``: ``; did you mean 'x'?`` or, with nothing close, the valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; valid: {', '.join(names)}"
