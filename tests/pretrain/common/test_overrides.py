"""key=value: one grammar of values, whatever is overridden."""

import pytest

from pretrain.common.errors import UserError
from pretrain.common.overrides import apply, check_number, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1e-3", 1e-3), ("-2.5", -2.5), ("'1'", "1"), ("[1, 0.5]", [1, 0.5]), ("(1,2)", (1, 2)),
        ("1,2", (1, 2)), ("true", True), ("False", False), ("None", None), ("null", None), ("AdamW", "AdamW"),
        ("/some/where", "/some/where"), ("a=b", "a=b"), ("", ""), ("[1", "[1"), ("nan", "nan"), ("{'a': 1}", {"a": 1}),
        ("__import__('os')", "__import__('os')"), ("(" * 3000, "(" * 3000),
    ],
)  # fmt: skip
def test_values_are_literals_or_text(text, value):
    assert parse(f"a.b={text}") == ("a.b", value)


@pytest.mark.parametrize("text", ["a", "=1", "", " =2"])
def test_what_is_no_override_is_said(text):
    with pytest.raises(UserError, match="is no override; expected key=value"):
        parse(text)


def test_overrides_reach_nested_sections_and_the_last_one_wins():
    values = {"a": {"b": 1}, "c": 2}
    apply(values, ["a.b=2", "a.d.e=x", "c=3", "c=4"])
    assert values == {"a": {"b": 2, "d": {"e": "x"}}, "c": 4}
    with pytest.raises(UserError, match=r"the key 'c.d' goes below 'c', which is a single value"):
        apply(values, ["c.d=1"])


def test_a_number_gives_way_to_finite_numbers_alone():
    check_number("lr", 0.1, 2), check_number("name", "x", 2)
    for value in ("fast", None, float("inf"), float("nan")):
        with pytest.raises(UserError, match="lr is a number"):
            check_number("lr", 0.1, value)
