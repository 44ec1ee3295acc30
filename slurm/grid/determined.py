"""What determines a job's result beside the config and the options that it is told, and whether it is still the same.

A job reads its files when it starts, days after the launch that has hashed them: what was edited meanwhile must not be
recorded under that hash.
"""

import re
from pathlib import Path
from typing import Any

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash
from pretrain.common.overrides import parse
from pretrain.common.repository import ROOT
from pretrain.config import WEIGHTS, PretrainConfig, load_config
from slurm.grid.graph import Command, Node
from transfer.recipes import RECIPES, recipe_hash
from transfer.targets import TARGETS

ROOT_KEY = "data.root"
TEACHER = "teacher"  # stands for another job's file in a config that is hashed
DIGEST = re.compile("[0-9a-f]{64}")


def is_layout(name: str) -> bool:
    """Whether a data set's name stands for whatever lies in a folder."""
    return name in TARGETS and TARGETS[name].is_layout


def roots_of(config: PretrainConfig) -> list[str]:
    """The folders that a config names, as they are seen from the present one."""
    root = config.data.root
    return [str(Path(one).absolute()) for one in ([root] if isinstance(root, str) else root or ()) if one]


def begun_with(
    config: PretrainConfig, overrides: tuple[str, ...], data: dict[str, str], parents_key: str | None = None
) -> dict[str, Any]:
    """What determines a pretraining beside its config, whose hash leaves out where files lie: images that are not told
    by the data set's name, the weights that it starts from, and its teacher's. data: a preset's. parents_key: of the
    config's, which names a file that another job writes."""
    found: dict[str, Any] = {}
    if any(override.startswith(f"{ROOT_KEY}=") for override in overrides):
        found["root"] = roots_of(config)
    elif is_layout(config.data.name) and (given := data.get(config.data.name)):
        found["root"] = [given]
    elif is_layout(config.data.name) and config.data.root is not None:
        found["root"] = roots_of(config)
    return found | {word: content(path) for word, path in files_of(config, parents_key).items()}


def files_of(config: PretrainConfig, parents_key: str | None) -> dict[str, str]:
    """Paths of the weights that a config names, but for that of ``parents_key``, by the words of ``WEIGHTS``."""
    teacher = getattr(config.objective, "teacher", None)
    named = {
        "backbone.weights": config.backbone.weights,
        "objective.teacher": teacher if isinstance(teacher, str) else None,
        "objective.teacher.weights": getattr(teacher, "weights", None),
    }
    return {WEIGHTS[key]: path for key, path in named.items() if path and key != parents_key}


def content(path: str) -> str:
    """The hash of a file, or of the universal checkpoint in a folder; ``path`` itself where none is seen from here."""
    file = Path(path) / "universal.safetensors" if Path(path).is_dir() else Path(path)
    return file_hash(file) if file.is_file() else path


def with_absolute_roots(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Overrides whose ``data.root`` names the same folders wherever the job, or a retry of it, starts."""
    found = []
    for override in overrides:
        key, root = parse(override)
        if key == ROOT_KEY and root and isinstance(root, str):
            override = f"{key}={Path(root).absolute()}"
        elif key == ROOT_KEY and isinstance(root, list | tuple):
            override = f"{key}={[str(Path(str(one)).absolute()) for one in root]}"
        found.append(override)
    return tuple(found)


def recipe_named(word: str) -> Path:
    """The recipe that a row names, seen from the present folder or from the repository. UserError if there is none."""
    for folder in (Path.cwd(), ROOT):
        if (folder / word).is_file():
            return (folder / word).resolve()
    raise UserError(f"no such recipe: {word}; expected a file, seen from {Path.cwd()} or {ROOT}")


def check_unchanged(node: Node, command: Command) -> None:
    """UserError if a file that determines the node's result says something else now than when the node was launched.

    command: the node's, as it runs on its machine.
    """
    found = pretraining_now(node, command) if node.kind == "pretrain" else evaluation_now(node, command)
    for key, value in found.items():
        if value != node.settings.get(key):
            raise UserError(
                f"'{node.name}': its {key} ({said_by(node, command, key)}) has changed since the launch; expected"
                " another launch (tools/launch.py), which computes it under its new hash"
            )


def pretraining_now(node: Node, command: Command) -> dict[str, Any]:
    """The settings of a pretraining's node that come out of files, as those say now."""
    if "config" not in node.settings:
        return {}
    key = parse(node.command.overrides[-1])[0] if node.parents else None  # the command may say more behind it
    config = load_config(command.subject, list(command.overrides))
    planned = load_config(command.subject, [*command.overrides, f"{key}={TEACHER}"]) if key else config
    found: dict[str, Any] = {"config": planned.hash}
    if "root" in node.settings:
        found["root"] = roots_of(config)
    named = files_of(config, key)
    for word in WEIGHTS.values():
        then, path = node.settings.get(word), named.get(word)
        if not (then and path):
            found[word] = path
        elif path != then and not (content(path) == path and DIGEST.fullmatch(then)):
            found[word] = content(path)  # a file that was seen at the launch may not be seen from here
    return found


def evaluation_now(node: Node, command: Command) -> dict[str, Any]:
    """The settings of a transfer's node that come out of files, as those say now."""
    found: dict[str, Any] = {}
    if files := node.settings.get("files"):
        words = dict(zip(node.settings["arguments"][::-1], command.words[::-1], strict=False))
        own = RECIPES.get(node.framework, {}).get(node.data)
        paths = {own.name: own} if own else {}
        paths |= {name: Path(words[name]) for name in files if name in words}
        found["files"] = {name: recipe_hash(path) for name, path in paths.items() if name in files and path.is_file()}
    if "checkpoint" in node.settings:
        from pretrain import load_universal  # with torch, which --help need not wait for

        found["checkpoint"] = load_universal(command.options["--checkpoint"][0]).hash
    return found


def said_by(node: Node, command: Command, key: str) -> str:
    """The file, or the folder, that says a setting."""
    if node.kind == "pretrain":
        return command.subject
    return ", ".join(node.settings["files"]) if key == "files" else command.options["--checkpoint"][0]
