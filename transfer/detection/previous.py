"""What an earlier training left in a folder that is used again."""

from collections.abc import Iterable
from pathlib import Path

from transfer.results import FILE_NAME


def set_aside(folder: Path, patterns: Iterable[str]) -> None:
    """Move what an earlier training left in ``folder`` to ``previous/<n>/``, each time to another one.

    A result takes another name there, so that tables do not read it.
    """
    found = [path for pattern in (*patterns, FILE_NAME) for path in folder.glob(pattern)]
    if not found:
        return
    numbers = [int(path.name) for path in folder.glob("previous/*") if path.name.isdigit()]
    previous = folder / "previous" / str(max(numbers, default=0) + 1)
    previous.mkdir(parents=True)
    for path in found:
        path.rename(previous / (f"previous_{FILE_NAME}" if path.name == FILE_NAME else path.name))
