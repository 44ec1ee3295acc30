"""A measurement as people read it: ``rows`` as a table, everything else as a line each; or as JSON."""

import json

from transfer.tables import render
from transfer.tables.table import Cell, Table


def shown(found: dict, as_json: bool) -> str:
    """found: simple values by name; ``title``; ``rows``, dicts that all have the keys of the first."""
    if as_json:
        return json.dumps(found, indent=2)
    facts = {name: value for name, value in found.items() if name not in ("title", "rows")}
    lines = [f"{name.replace('_', ' ')}: {_text(value)}" for name, value in facts.items()]
    return "\n".join([table(found["title"], found["rows"]), *lines])


def table(title: str, rows: list[dict], form: str = "markdown") -> str:
    """Rows as above, in a format of ``transfer.tables.render``."""
    first, *others = rows[0]
    found = Table("benchmark", title, [first.replace("_", " ")], [name.replace("_", " ") for name in others])
    for row in rows:
        found.rows.append(([_text(row[first])], [Cell(_text(row[name])) for name in others]))
    return render(found, form)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(item)}" for name, item in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
