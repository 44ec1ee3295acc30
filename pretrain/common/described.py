"""What the settings of a dataclass are, as a table for people: key, what it takes, default, meaning.

The meaning stands in the class's docstring, after the names of its fields: ``lr, alpha: what they are.``
"""

import dataclasses
import inspect
import re
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints


class Setting(NamedTuple):
    """One line: the dotted key, what it takes, its default (empty where there is none), its meaning."""

    key: str
    takes: str
    default: str
    meaning: str


def described(kind: type, prefix: str = "", listed: dict[type, str] | None = None) -> list[Setting]:
    """Every setting of a dataclass, those of its sections below their key; a choice of several dataclasses is left out.

    prefix: what comes before the keys, with its dot. listed: sections that are written out already, by their key; where
    they come again, one line says so.
    """
    hints, known, found = get_type_hints(kind, include_extras=True), meanings(kind), []
    listed = {} if listed is None else listed
    for field in dataclasses.fields(kind):
        key, section, meaning = f"{prefix}{field.name}", sections(hints[field.name]), known.get(field.name, "")
        if get_origin(hints[field.name]) is Literal and len(get_args(hints[field.name])) == 1:
            continue  # a name that tells one dataclass from others
        if not section:
            found.append(Setting(key, takes_text(hints[field.name]), _default(field), meaning))
        elif len(section) == 1 and section[0] in listed:
            found.append(Setting(key, f"the keys of {listed[section[0]]}", "", meaning))
        elif len(section) == 1:
            listed[section[0]] = key
            found += described(section[0], f"{key}.", listed)
    return found


def sections(hint: Any) -> list[type]:
    """The dataclasses that a field may hold."""
    if get_origin(hint) is Annotated:
        return sections(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for one in get_args(hint) for kind in sections(one)]
    return [hint] if isinstance(hint, type) and dataclasses.is_dataclass(hint) else []


def meanings(kind: type) -> dict[str, str]:
    """Field -> the part of the docstring that begins with its name and a colon, up to the next such names."""
    names = {field.name for field in dataclasses.fields(kind)}
    text = " ".join((inspect.getdoc(kind) or "").split()).replace("``", "")
    marks = [
        (match, match[1].split(", "))
        for match in re.finditer(r"(?:^|(?<=[.;:] ))(\w+(?:, \w+)*): ", text)
        if set(match[1].split(", ")) <= names
    ]
    found = {}
    for (match, fields), following in zip(marks, [*marks[1:], None]):
        meaning = text[match.end() : following[0].start() if following else None].strip(" .;")
        found |= dict.fromkeys(fields, meaning)
    return found


def takes_text(hint: Any) -> str:
    """What a value may be, in words: ``number from 0 to 1``, ``sgd | lars``, ``(number above 0) x 3``."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([takes_text(inner[0]), *(text for extra in inner[1:] if (text := _bounds(extra)))])
    if origin is Literal:
        return " \\| ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(takes_text(one) for one in inner)
    if origin is tuple:
        repeated = len(inner) == 2 and inner[1] is Ellipsis
        parts = [takes_text(one) for one in inner if one is not Ellipsis]
        return f"({parts[0]}, …)" if repeated else f"({', '.join(parts)})"
    return {int: "whole number", float: "number", str: "text", bool: "True or False", type(None): "None"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


def _bounds(extra: Any) -> str:
    """The bounds that a hint's ``Field`` says, of pydantic or of annotated_types."""
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = []
    for part in getattr(extra, "metadata", [extra]):
        limits = {name: getattr(part, name) for name in words if getattr(part, name, None) is not None}
        found += [f"{words[name]} {limit:g}" for name, limit in limits.items() if abs(limit) < 2**31 - 1]
    return " ".join(found)


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return str(field.default)
    return "" if field.default_factory is dataclasses.MISSING else str(field.default_factory())
