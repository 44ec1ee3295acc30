"""The recipes of ``configs/transfer``, in the format of each framework: by them detectors are trained, and conversions
write configs for other people's programs."""

import copy
import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pretrain.common.repository import CONFIGS
from transfer.targets import targets_of

FOLDERS = {"detectron2": CONFIGS / "transfer", "mmdet": CONFIGS / "transfer/mmdet"}
RECIPES = {  # framework -> target -> file
    framework: {name: folder / target.recipe for name, target in targets_of("detection").items()}
    for framework, folder in FOLDERS.items()
}
# how a recipe names others: "base.py" by mmengine, a relative import by detectron2's LazyConfig
NAMED = re.compile(
    r"[\"'](?P<file>[\w./-]+\.py)[\"']|^\s*from\s+(?P<dots>\.+)(?P<module>[\w.]+)\s+import", re.MULTILINE
)


def recipe_hash(path: Path, seen: frozenset[Path] = frozenset()) -> str:
    """SHA-256 of a recipe and of the recipes that it inherits from, wherever they lie."""
    text, here = path.read_text(), path.resolve()
    parts = [text]
    for name in NAMED.finditer(text):
        up = "../" * (len(name["dots"] or ".") - 1)
        other = here.parent / (name["file"] or f"{up}{name['module'].replace('.', '/')}.py")
        if other.is_file() and other.resolve() not in seen | {here}:
            parts.append(recipe_hash(other, seen | {here}))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_once(load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """``load`` of a recipe, which takes a framework a second, once for what the recipe says and inherits.

    Each call has a copy of its own.
    """

    @lru_cache(maxsize=8)
    def loaded(path: Path, digest: str) -> Any:
        return load(path)

    return lambda path: copy.deepcopy(loaded(path, recipe_hash(path)))
