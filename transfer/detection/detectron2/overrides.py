"""``key=value`` on the command line against a LazyConfig, refusing keys that nothing would read."""

import inspect

from pretrain.common.errors import UserError, nearest
from pretrain.common.overrides import check_number, parse


def apply_overrides(config, overrides: list[str]) -> None:
    """Set ``a.b.c=value`` for each override, see ``pretrain/common/overrides.py``.

    A key must exist, or be an argument of the class that its section builds. Errors: UserError, naming the nearest key.
    """
    from omegaconf import OmegaConf

    for override in overrides:
        key, value = parse(override)
        check_key(config, key)
        check_number(key, OmegaConf.select(config, key), value)
        OmegaConf.update(config, key, value)


def check_key(config, key: str) -> None:
    """UserError unless each part of ``key`` names something in its section."""
    from omegaconf import DictConfig, ListConfig

    section, parts = config, key.split(".")
    for i, part in enumerate(parts):
        if isinstance(section, ListConfig):
            if not part.isdigit() or int(part) >= len(section):
                raise UserError(f"'{part}' in {key} is no index; expected 0 to {len(section) - 1}")
            section = section[int(part)]
            continue
        valid = names_of(section) if isinstance(section, DictConfig) else []
        if part not in valid:
            prefix = ".".join(parts[:i])
            raise UserError(
                f"unknown key '{key}'{nearest('.'.join(parts[: i + 1]), [f'{prefix}.{n}'.lstrip('.') for n in valid])}"
            )
        section = section.get(part)


def names_of(section) -> list[str]:
    """The keys of a section and the arguments of what it builds (``_target_``)."""
    names = [str(name) for name in section if name != "_target_"]
    target = section.get("_target_")
    if target is not None:
        from detectron2.utils.registry import locate

        parameters = inspect.signature(locate(target) if isinstance(target, str) else target).parameters
        names += [name for name in parameters if name not in ("self", "args", "kwargs", *names)]
    return names
