"""Dataclasses from what a person wrote: an unknown key or a wrong type is one line that names the nearest."""

import dataclasses
import re
from typing import Any, TypeVar, get_args, get_type_hints

from pretrain.common.errors import UserError, nearest

T = TypeVar("T")


def read(kind: type[T], values: Any, where: str) -> T:
    """``values`` as a ``kind`` (a dataclass, with dataclasses in it). where: the file, for the message of UserError."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, dict):
        raise UserError(f"{where}: expected keys with values, got {str(values)[:60]!r}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        # a misspelt key is missing as well: what is unknown says more
        first = min(error.errors(), key=lambda found: found["type"] != "unexpected_keyword_argument")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        fields = _fields_at(kind, first["loc"])
        raise UserError(f"{where}: unknown key '{key}'{nearest(str(first['loc'][-1]), fields) if fields else ''}")
    if first["type"] == "missing":
        raise UserError(f"{where}: the key '{key}' is missing")
    if first["type"] == "literal_error":
        valid = re.findall(r"'([^']+)'", first["ctx"]["expected"])
        raise UserError(f"{where}: {key}: unknown '{str(first['input'])[:60]}'{nearest(str(first['input']), valid)}")
    raise UserError(f"{where}: {key}: {first['msg']}, got {str(first['input'])[:60]!r}")


def _fields_at(kind: Any, place: tuple) -> list[str]:
    """Names of the fields of the dataclass that the last part of ``place`` was meant for."""
    for part in place[:-1]:
        if dataclasses.is_dataclass(kind):
            kind = get_type_hints(kind).get(part)
        else:  # an index of tuple[T, ...] or a key of dict[str, T]
            kind = next((arg for arg in get_args(kind) if dataclasses.is_dataclass(arg)), None)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
