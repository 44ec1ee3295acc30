"""What a name stands for: an entry of one of the suite's tables, or ``module:attribute`` of somebody's own code.

Own code is imported only where its name was typed by the person who runs it, in a config or on a command line. A name
that comes out of a file (a checkpoint of a stranger) counts only if the program has imported that module already.
"""

import importlib
import sys
from collections.abc import Mapping
from typing import TypeVar

from pretrain.common.errors import UserError, nearest

T = TypeVar("T")


def is_own(name: str) -> bool:
    """Whether ``name`` is ``module:attribute``."""
    return ":" in name


def named(name: str, table: Mapping[str, T], what: str, typed: bool = False) -> T:
    """``table[name]``, or the attribute that ``module:attribute`` names. what: the kind of thing, for messages.

    typed: the person who runs this typed the name, so its module may be imported.
    Errors: UserError for an unknown name, with the nearest; for a module that is not found, not imported, or fails.
    """
    if not is_own(name):
        if name not in table:
            raise UserError(f"unknown {what} '{name}'{nearest(name, table)}")
        return table[name]
    module, _, attribute = name.partition(":")
    if typed and module not in sys.modules:
        _import(module, f"{what} '{name}'")
    if module not in sys.modules:
        raise UserError(
            f"{what} '{name}' is code of its own, which is not run for a file's sake; import {module} first"
        )
    if not hasattr(sys.modules[module], attribute):
        raise UserError(f"{what} '{name}': {module} has no '{attribute}'{nearest(attribute, dir(sys.modules[module]))}")
    return getattr(sys.modules[module], attribute)


def _import(module: str, what: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] == error.name.split(".")[0]:
            raise UserError(f"{what}: there is no module '{module}'; expected its folder in PYTHONPATH") from None
        raise UserError(f"{what}: importing {module} failed: {error}") from error
    except Exception as error:  # whatever somebody's module may raise
        raise UserError(f"{what}: importing {module} failed: {type(error).__name__}: {error}") from error
