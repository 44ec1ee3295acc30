"""Settings are read from what a person wrote: the first thing that is wrong is named in one line."""

import dataclasses
from dataclasses import field
from typing import Annotated, Literal

import pytest
from pydantic import Discriminator

from pretrain.common.errors import UserError
from pretrain.common.settings import Numbers, Ordered, PositiveFloat, PositiveInt, Share, Widths, read, settings


@settings
class Circle:
    name: Literal["circle"] = "circle"
    radius: PositiveFloat = 1.0


@settings
class Square:
    name: Literal["square"] = "square"
    side: PositiveInt = 1


@settings
class Picture:
    title: str
    size: PositiveInt = 32
    free: float = 0.0
    share: Share | None = None
    range: Annotated[tuple[float, float], Ordered] = (0, 1)
    rates: Numbers = (0.1,)
    mode: Literal["fast", "paper"] = "fast"
    shape: Annotated[Circle | Square, Discriminator("name")] = field(default_factory=Circle)
    frame: Square | None = None
    parts: dict[str, Circle] = field(default_factory=dict)
    rows: tuple[Circle, ...] = ()


def test_values_become_dataclasses_at_every_depth():
    values = {
        "title": "x",
        "rates": 0.5,
        "shape": {"name": "square", "side": 2},
        "frame": {},
        "parts": {"a": {"radius": 3}},
    }
    found = read(Picture, values)
    assert found == Picture("x", rates=(0.5,), shape=Square(side=2), frame=Square(), parts={"a": Circle(radius=3.0)})
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.size = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "unknown key 'sise'; did you mean 'size'?"),
        ({}, "the key 'title' is missing"),
        ({"title": "x", "size": 0}, "size is 0; expected a number from 1"),
        ({"title": "x", "size": "many"}, "size: Input should be a valid integer.* got 'many'"),
        ({"title": "x", "size": 2**40}, "size is 1099511627776; expected a number up to 2147483647"),
        ({"title": "x", "free": float("nan")}, "free is nan; expected a finite number"),
        ({"title": "x", "free": float("inf")}, "free is inf; expected a finite number"),
        ({"title": "x", "share": 1.5}, "share is 1.5; expected a number up to 1"),
        ({"title": "x", "range": (2, 1)}, r"range is \(2, 1\); expected the smaller one first"),
        ({"title": "x", "rates": (0.1, -1)}, "rates.1 is -1; expected a number from 0"),
        ({"title": "x", "mode": "fats"}, "mode: unknown 'fats'; did you mean 'fast'?"),
        ({"title": "x", "shape": {"name": "sqare"}}, "unknown shape.name 'sqare'; did you mean 'square'?"),
        ({"title": "x", "shape": {"name": "square", "sid": 1}}, "unknown key 'shape.sid'; did you mean 'side'?"),
        ({"title": "x", "shape": {"name": "circle", "radius": 0}}, "shape.radius is 0; expected a number above 0"),
        ({"title": "x", "frame": 3}, "the key 'frame' takes keys of its own, got '3'"),
        ({"title": "x", "frame": {"sides": 3}}, "unknown key 'frame.sides'; did you mean 'side'?"),
        ({"title": "x", "parts": {"a": {"radios": 1}}}, "unknown key 'parts.a.radios'; did you mean 'radius'?"),
        ({"title": "x", "rows": [{}, {"radius": -1}]}, "rows.1.radius is -1; expected a number above 0"),
        ([1], "expected keys with values, got '\\[1\\]'"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named_in_one_line(values, message):
    with pytest.raises(UserError, match=f"^file: {message}".replace("?", "\\?")) as refused:
        read(Picture, values, "file")
    assert "\n" not in str(refused.value)


@settings
class Watched:
    widths: Widths | None = None


@pytest.mark.parametrize(("given", "expected"), [(0.5, (0.5,)), ([1, 0.5], (1.0, 0.5)), (None, None)])
def test_one_width_stands_for_a_list_of_one(given, expected):
    assert read(Watched, {"widths": given}).widths == expected
