"""``key=value`` on a command line: one grammar of values for every kind of settings."""

import ast
import math
from collections.abc import Iterable
from numbers import Number
from typing import Any

from pretrain.common.errors import UserError

WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse(override: str) -> tuple[str, Any]:
    """The key, dotted, and the value: a literal of python, true, false or none in any case, else the text itself.

    UserError without a key or without an equals sign.

    >>> parse("optimizer.lr=1e-3"), parse("data.root=/some/where"), parse("widths=[1, .5]"), parse("flip=false")
    (('optimizer.lr', 0.001), ('data.root', '/some/where'), ('widths', [1, 0.5]), ('flip', False))
    """
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise UserError(f"'{override}' is no override; expected key=value, e.g. training.epochs=20")
    if text.lower() in WORDS:
        return key, WORDS[text.lower()]
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return key, text


def check_number(key: str, before: Any, value: Any) -> None:
    """UserError where a number would give way to something else, or to one that is not finite."""
    if isinstance(before, Number) and not (isinstance(value, Number) and math.isfinite(value)):
        raise UserError(f"{key} is a number ({before}), but '{value}' is none")


def apply(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set each override in nested dictionaries. UserError for a key below a single value."""
    for override in overrides:
        key, value = parse(override)
        section, (*path, last) = values, key.split(".")
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise UserError(f"the key '{key}' goes below '{part}', which is a single value")
        section[last] = value
