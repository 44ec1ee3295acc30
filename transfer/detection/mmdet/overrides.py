"""``key=value`` on the command line against an mmdet config, refusing keys that nothing would read."""

import inspect
from typing import Any

from pretrain.common.errors import UserError, nearest
from pretrain.common.overrides import check_number, parse


def apply_overrides(config, overrides: tuple[str, ...]) -> None:
    """Set ``a.b.c=value`` for each override, see ``pretrain/common/overrides.py``.

    A key must exist, or be an argument of the class that its section's ``type`` names; numbers are places in lists.
    Errors: UserError, naming the nearest key.
    """
    for override in overrides:
        key, value = parse(override)
        section, name = find(config, key)
        check_number(key, section[name] if isinstance(section, list) else section.get(name), value)
        section[name] = value


def find(config, key: str) -> tuple[Any, Any]:
    """The section that holds ``key`` and the key's last part, a number in a list. UserError if nothing reads it."""
    section, parts = config, key.split(".")
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(section, list | tuple):
            if not part.isdigit() or int(part) >= len(section):
                raise UserError(f"'{part}' in {key} is no index; expected 0 to {len(section) - 1}")
            if last:
                return section, int(part)
            section = section[int(part)]
            continue
        valid = names_of(section) if hasattr(section, "keys") else []
        if part not in valid:
            prefix = ".".join(parts[:i])
            names = [f"{prefix}.{name}".lstrip(".") for name in valid]
            raise UserError(f"unknown key '{key}'{nearest('.'.join(parts[: i + 1]), names)}")
        if last:
            return section, part
        section = section.get(part)
    raise UserError(f"'{key}' names nothing")


def names_of(section) -> list[str]:
    """The keys of a section and the arguments of the class that its ``type`` names."""
    names = [str(name) for name in section.keys() if name != "_scope_"]  # noqa: SIM118  (a Config)
    found = class_of(section.get("type"))
    if found is not None:
        parameters = inspect.signature(found).parameters
        names += [name for name in parameters if name not in ("self", "args", "kwargs", *names)]
    return names


def class_of(name: str | None) -> type | None:
    """What mmdet's registries know by this name."""
    from mmdet import registry

    if isinstance(name, str):
        for found in vars(registry).values():
            if isinstance(found, registry.Registry) and (known := found.get(name)) is not None:
                return known
    return None
