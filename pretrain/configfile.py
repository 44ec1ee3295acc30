"""Config files: mmengine's python files with inheritance, and the rows of a table side by side in one of them.

A file with a dictionary of ``rows`` stands for that many configs: a row is what it changes of the rest of the file, one
dictionary or several, merged one over the other. ``configs/pretrain/table7.py:case12`` is the address of a row. What
begins with an underscore is the file's own, to say a part of several rows once; ``_delete_=True`` replaces a section.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from pretrain.common.errors import UserError, nearest

BASES = "_base_"  # of folders and keys: what files inherit, and trains nothing by itself


class Address(NamedTuple):
    """A config: a file, and the row of it where it has rows."""

    path: Path
    row: str | None = None

    @classmethod
    def parse(cls, text: "str | Path | Address") -> "Address":
        """``FILE.py`` or ``FILE.py:ROW``."""
        if isinstance(text, Address):
            return text
        path, colon, row = str(text).partition(".py:")
        return cls(Path(f"{path}.py"), row) if colon else cls(Path(text))

    def __str__(self) -> str:
        return str(self.path) if self.row is None else f"{self.path}:{self.row}"

    @property
    def run(self) -> Path:
        """The folder of its run below ``runs/``: ``us3l_resnet18_digits``, ``table7/case12``."""
        return Path(self.path.stem) if self.row is None else Path(self.path.stem, self.row)


def read_python(path: Path, what: str) -> dict[str, Any]:
    """The values of a file of mmengine's config language. what: the kind of file, for messages.

    Errors: UserError for a missing file, or one that can't be executed.
    """
    from mmengine.config import Config

    if not path.is_file():
        names = [p.stem for p in path.parent.glob("*.py")]
        raise UserError(f"no such {what}: {path}{nearest(path.stem, names) if names else ''}")
    try:
        values = Config.fromfile(path, lazy_import=False).to_dict()
    except RecursionError:
        raise UserError(f"{path} is no valid {what}: it inherits from itself, by way of its {BASES}") from None
    except (Exception, SystemExit) as error:  # whatever a file of python code may raise
        raise UserError(f"{path} is no valid {what}: {' '.join(str(error).split()) or type(error).__name__}") from None
    return {key: value for key, value in values.items() if not key.startswith("_")}


def read_config(config: str | Path | Address) -> dict[str, Any]:
    """The values of one config, those of its row over those of its file.

    Errors: UserError as in ``read_python``; for a row that the file doesn't have, naming the nearest; for a file with
    rows and no row, listing them.
    """
    address = Address.parse(config)
    values = read_python(address.path, "config")
    rows = _rows(address.path, values)
    if address.row is None and rows:
        raise UserError(
            f"{address.path} has {len(rows)} rows; expected {address.path}:ROW with one of {', '.join(rows)}"
        )
    if address.row is None:
        return values
    if not rows:
        raise UserError(f"{address.path} has no rows; expected {address.path} without ':{address.row}'")
    if address.row not in rows:
        raise UserError(f"{address.path} has no row '{address.row}'{nearest(address.row, rows)}")
    return _merged(address, values, rows[address.row])


def find_configs(pattern: str, root: Path) -> list[Address]:
    """Configs that match a pattern such as ``configs/pretrain/table7.py:case*``: files by name, rows in their order.

    root: folder that relative patterns start from. Without a row in the pattern files with rows stand for all of them.
    """
    path, row = Address.parse(pattern)
    if path.is_absolute():
        paths: Iterable[Path] = [path] if path.is_file() else []
    else:
        paths = sorted(p for p in root.glob(str(path)) if p.suffix == ".py" and BASES not in p.parts)
    found = []
    for file in paths:
        rows = _rows(file, read_python(file, "config"))
        names = [name for name in rows if row is None or fnmatchcase(name, row)]
        found += [Address(file, name) for name in names] if rows or row is not None else [Address(file)]
    return found


def _rows(path: Path, values: dict[str, Any]) -> dict[str, list[dict]]:
    """The rows of a file, taken out of its values: name -> what it changes, one dictionary over the other."""
    rows = values.pop("rows", {})
    if not isinstance(rows, dict):
        raise UserError(f"{path}: rows is {str(rows)[:60]!r}; expected a dictionary of them")
    parts = {name: list(row) if isinstance(row, list | tuple) else [row] for name, row in rows.items()}
    for name, row in parts.items():
        if not all(isinstance(part, dict) for part in row):
            raise UserError(f"{path}: the row '{name}' is {str(rows[name])[:60]!r}; expected dictionaries of settings")
    return parts


def _merged(address: Address, values: dict[str, Any], parts: list[dict]) -> dict[str, Any]:
    from mmengine.config import Config

    config = Config(values)
    try:
        for part in parts:
            config.merge_from_dict(part)
    except TypeError as error:  # a section where there is a single value
        raise UserError(f"{address} does not fit to its file: {' '.join(str(error).split())}") from None
    return config.to_dict()


def as_python(values: dict[str, Any]) -> str:
    """Nested simple values as the text of a config file, which reads back as the same values."""
    return "\n".join(f"{key} = {_text(value, '')}" for key, value in values.items()) + "\n"


def _text(value: Any, indent: str) -> str:
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, dict):
        return repr(value)
    lines = [f"{indent}    {key}={_text(item, indent + '    ')},\n" for key, item in value.items()]
    return f"dict(\n{''.join(lines)}{indent})"
