"""A conversion's folder: it replaces its own files of an earlier time, nobody else's, and leaves no others there."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from pretrain.common.errors import UserError
from pretrain.common.files import read_object

FORMAT = "format"  # the key of a description that names the format


def check_format(form: str, output: Path) -> None:
    """UserError where a description in ``output`` says another format: formats share names of files."""
    for path in sorted(output.glob("*.json")):
        other = read_object(path).get(FORMAT)
        if other not in (None, form):
            raise UserError(f"{output} holds files for {other} ({path.name}); expected another --output for {form}")


@contextmanager
def without_bytecode() -> Iterator[None]:
    """Imports of what was just written leave no ``__pycache__`` beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def executed(code: Path) -> ModuleType:
    """The module in a written Python file."""
    spec = spec_from_file_location("converted", code)
    module = module_from_spec(spec)
    with without_bytecode():
        spec.loader.exec_module(module)
    return module


def check_names(form: str, paths: Iterable[Path], own: bool) -> None:
    """UserError where some of ``paths`` are there already, unless they are ``own``: an earlier conversion's."""
    there = [path for path in paths if path.exists()]
    if there and not own:
        names = ", ".join(path.name for path in there)
        raise UserError(f"{there[0].parent} has {names}, not written by --to {form}; expected another --output")
