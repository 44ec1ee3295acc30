"""What a folder holds already, so that a conversion replaces its own files of an earlier time and nobody else's."""

from collections.abc import Iterable
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import read_object

FORMAT = "format"  # the key of a description that names the format


def check_format(form: str, output: Path) -> None:
    """UserError where a description in ``output`` says another format: formats share names of files."""
    for path in sorted(output.glob("*.json")):
        other = read_object(path).get(FORMAT)
        if other not in (None, form):
            raise UserError(f"{output} holds files for {other} ({path.name}); expected another --output for {form}")


def check_names(form: str, paths: Iterable[Path], own: bool) -> None:
    """UserError where some of ``paths`` are there already, unless they are ``own``: an earlier conversion's."""
    there = [path for path in paths if path.exists()]
    if there and not own:
        names = ", ".join(path.name for path in there)
        raise UserError(f"{there[0].parent} has {names}, not written by --to {form}; expected another --output")
