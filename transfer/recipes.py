"""The recipes of ``configs/transfer``, in the format of each framework: by them detectors are trained, and conversions
write configs for other people's programs."""

import hashlib
import re
from pathlib import Path

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
