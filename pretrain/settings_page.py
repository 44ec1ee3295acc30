"""All settings of a pretraining for people: docs/settings.md, and what ``tools/pretrain.py CONFIG --settings`` prints.

python -m pretrain.settings_page > docs/settings.md
"""

import textwrap

from pretrain.common.described import Setting, described
from pretrain.config import PretrainConfig
from pretrain.objectives import OBJECTIVES

HEAD = """# Settings of a pretraining

Made by `python -m pretrain.settings_page > docs/settings.md` from the dataclasses that read a config. A setting is
changed in a config or on the command line, `training.epochs=100`; `tools/pretrain.py CONFIG --settings` prints these
with the values of a config. The keys of `objective` depend on `objective.name`.
"""


def page() -> str:
    """The markdown page: a table for the settings of every run, one for each objective."""
    parts = [HEAD, _table(described(PretrainConfig))]
    for name, kind in OBJECTIVES.items():
        parts += [f"## objective.name = {name}\n", _table(described(kind, "objective."))]
    return "\n".join(parts)


def listing(config: PretrainConfig) -> str:
    """Every setting of ``config`` with its value, what it takes and what it means, a paragraph each."""
    rows = [*described(PretrainConfig), *described(type(config.objective), "objective.")]
    return "\n".join(_paragraph(row, _value(config, row.key)) for row in rows)


def _paragraph(row: Setting, value: object) -> str:
    default = f"; default {row.default}" if row.default else ""
    text = f"{row.takes}{default}. {row.meaning[:1].upper()}{row.meaning[1:]}.".replace("\\|", "|")
    return f"{row.key} = {value!r}\n{textwrap.indent(textwrap.fill(text, 100), '    ')}"


def _value(config: object, key: str) -> object:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def _table(rows: list[Setting]) -> str:
    lines = [f"| `{row.key}` | {row.takes} | {row.default} | {row.meaning} |" for row in rows]
    return "\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *lines, ""])


if __name__ == "__main__":
    print(page(), end="")
