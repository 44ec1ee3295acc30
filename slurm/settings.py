"""Dataclasses from what a person wrote: an unknown key or a wrong type is one line that names the nearest."""

import dataclasses
from typing import Any, TypeVar

from pretrain.errors import UserError, nearest

T = TypeVar("T")


def read(kind: type[T], values: Any, where: str) -> T:
    """``values`` as a ``kind`` (a dataclass, with dataclasses in it). where: the file, for the message of UserError."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, dict):
        raise UserError(f"{where}: expected keys with values, got {str(values)[:60]!r}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        fields = _fields_at(kind, values, first["loc"])
        raise UserError(f"{where}: unknown key '{key}'{nearest(str(first['loc'][-1]), fields)}")
    if first["type"] == "missing":
        raise UserError(f"{where}: the key '{key}' is missing")
    raise UserError(f"{where}: {key}: {first['msg']}, got {str(first['input'])[:60]!r}")


def _fields_at(kind: type, values: Any, place: tuple) -> list[str]:
    """Names of the dataclass's fields that the last part of ``place`` was meant for."""
    for part in place[:-1]:
        if dataclasses.is_dataclass(kind):
            hint = {field.name: field.type for field in dataclasses.fields(kind)}[part]
            kind = next(iter(getattr(hint, "__args__", ())[-1:]), hint)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
