"""What is read in the place of an image that cannot be: the next one of the same order that can."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from pretrain.common.errors import BadImageError, UserError

T = TypeVar("T")


def first_readable(read: Callable[[int], T], candidates: Iterable[int], bad: list[int]) -> tuple[int, T]:
    """The first of the candidates that ``read`` can read, and what it gave; ``bad`` gets those before it.

    Errors: UserError where none can be read.
    """
    for index in candidates:
        try:
            return index, read(index)
        except BadImageError:
            bad.append(index)
    raise UserError("none of the images can be read; expected some that can")


def following(order: np.ndarray, position: int) -> Iterator[int]:
    """The indices of an order from a position on, and then those before it."""
    return (int(index) for part in (order[position:], order[:position]) for index in part)
