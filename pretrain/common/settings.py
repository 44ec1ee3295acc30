"""Settings are frozen dataclasses whose fields say what they take, read from what a person wrote.

An unknown key, a value of the wrong type or beyond its bounds is one line: the key, what was expected, what was given.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from typing_extensions import dataclass_transform

from pretrain.common.errors import UserError, nearest

T = TypeVar("T")
LARGEST = 2**31 - 1
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Processes = Annotated[int, Field(ge=0, le=1024)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Channels = Annotated[int, Field(ge=1, le=8192)]
Side = Annotated[int, Field(ge=1, le=32768)]  # px
Features = Annotated[int, Field(ge=1, le=500_000)]  # of a head
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
# for texts of which one is "none": a command line's word none is None before its field is known
NAMED_NONE = BeforeValidator(lambda value: "none" if value is None else value)
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


def _ordered(pair: tuple) -> tuple:
    if not pair[0] <= pair[1]:
        raise ValueError("expected the smaller one first")
    return pair


def _several(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


def _distinct(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("expected each only once")
    return values


Ordered = AfterValidator(_ordered)
Distinct = AfterValidator(_distinct)
Several = BeforeValidator(_several)  # or one alone
Widths = Annotated[tuple[PositiveFloat, ...], Several, Distinct, Field(min_length=1)]
Numbers = Annotated[tuple[NotNegative, ...], Several, Field(min_length=1)]


@dataclass_transform(frozen_default=True)
def settings(kind: type[T]) -> type[T]:
    """Decorator: a frozen dataclass that takes no other keys, and no numbers that are not finite, when it is read."""
    kind.__pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}
    return dataclasses.dataclass(frozen=True)(kind)


def read(kind: type[T], values: Any, where: str = "", noun: str = "key") -> T:
    """``values`` as a ``kind`` (a dataclass, with dataclasses in it); UserError names the first thing that is wrong.

    where: the file, for the message. noun: what the message calls a key.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(values, dict):
        raise UserError(f"{prefix}expected keys with values, got {str(values)[:60]!r}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        # a misspelt key is missing as well: what is unknown says more
        first = min(error.errors(), key=lambda found: found["type"] != "unexpected_keyword_argument")
    parts, section = _place(kind, first["loc"])
    key, bounds = ".".join(map(str, parts)), first.get("ctx", {})
    given = " ".join(str(first["input"])[:60].split())
    if first["type"] == "unexpected_keyword_argument":
        raise UserError(f"{prefix}unknown {noun} '{key}'{nearest(str(parts[-1]), section) if section else ''}")
    if first["type"] == "missing":
        raise UserError(f"{prefix}the {noun} '{key}' is missing")
    if first["type"] == "dataclass_type":
        raise UserError(f"{prefix}the {noun} '{key}' takes keys of its own, got {given!r}")
    if first["type"] == "union_tag_invalid":
        tag, names = bounds["tag"], [name.strip(" '") for name in bounds["expected_tags"].split(",")]
        raise UserError(f"{prefix}unknown {key}.name '{tag}'{nearest(tag, names)}")
    if first["type"] in BOUNDS:
        raise UserError(f"{prefix}{key} is {given}; expected {BOUNDS[first['type']](bounds)}")
    if first["type"] == "literal_error":
        valid = [word.strip("'") for word in re.findall(r"'[^']+'|\b\w+\b", bounds["expected"]) if word != "or"]
        raise UserError(f"{prefix}{key}: unknown '{given}'{nearest(given, valid)}")
    raise UserError(f"{prefix}{key}: {first['msg']}, got {given!r}")


BOUNDS: dict[str, Callable[[dict], str]] = {
    "greater_than": lambda bounds: f"a number above {bounds['gt']}",
    "greater_than_equal": lambda bounds: f"a number from {bounds['ge']}",
    "less_than": lambda bounds: f"a number below {bounds['lt']}",
    "less_than_equal": lambda bounds: f"a number up to {bounds['le']}",
    "too_short": lambda bounds: f"{bounds['min_length']} or more",
    "string_too_short": lambda bounds: "a text",
    "string_pattern_mismatch": lambda bounds: "a text of one line",
    "finite_number": lambda bounds: "a finite number",
    "value_error": lambda bounds: str(bounds["error"]).removeprefix("expected "),
}


def _place(kind: Any, place: tuple) -> tuple[list, list[str]]:
    """The key's parts, without the names by which one of several dataclasses is told, and its section's fields."""
    parts = []
    for i, part in enumerate(place):
        choices = [choice for choice in (kind, *get_args(kind)) if dataclasses.is_dataclass(choice)]
        if len(choices) > 1:
            kind = next((c for c in choices if c.__dataclass_fields__["name"].default == part), None)
            continue
        parts.append(part)
        section = choices[0] if choices else None
        if i == len(place) - 1:
            return parts, [field.name for field in dataclasses.fields(section)] if section else []
        if dataclasses.is_dataclass(kind) or (section and part in section.__dataclass_fields__):
            kind = get_type_hints(section).get(part)
        else:  # an index of tuple[T, ...] or a key of dict[str, T]
            kind = section
    return parts, []
