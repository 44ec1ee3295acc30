"""A grid as a graph of nodes: what each runs, what it needs, and the hash that names its result."""

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pretrain.common.errors import UserError, nearest
from pretrain.common.repository import ROOT

OWN = "output"
Tool = Literal["tools/pretrain.py", "tools/convert.py", "tools/transfer.py", "tools/tables.py"]


@dataclass(frozen=True)
class Command:
    """A tool of the repository and what it is told; other programs are no jobs.

    subject: the tool's first word: a config, a checkpoint, a target, a folder. overrides: ``key=value``.
    options: values by flag. words: further ones, as a person wrote them.
    """

    tool: Tool
    subject: str
    overrides: tuple[str, ...] = ()
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """What starts it as a process."""
        options = [word for flag, values in self.options.items() for word in (flag, *values)]
        return [sys.executable, str(ROOT / self.tool), self.subject, *self.overrides, *self.words, *options]

    def sets(self, key: str) -> bool:
        """Whether an override sets ``key``."""
        return any(override.startswith(f"{key}=") for override in self.overrides)

    def with_options(self, options: dict[str, tuple[str, ...]]) -> "Command":
        """The command with those of ``options`` that it does not have."""
        said = {word.partition("=")[0] for word in self.words}
        mine = {flag: values for flag, values in options.items() if flag not in said}
        return dataclasses.replace(self, options={**mine, **self.options})

    def resolved(self, folders: dict[str, Path]) -> "Command":
        """The command with folders in place of ``{NAME}``; other braces stay."""

        def resolve(word: str) -> str:
            return re.sub(r"\{([^{}]+)\}", lambda m: str(folders.get(m[1], m[0])), word)

        return Command(
            self.tool, resolve(self.subject), tuple(map(resolve, self.overrides)),
            {flag: tuple(map(resolve, values)) for flag, values in self.options.items()},
            tuple(map(resolve, self.words)),
        )  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One job. ``name`` is unique in its graph and may differ between graphs that share the node.

    settings: simple values that determine the result, beside those of the parents (names of nodes).
    after: nodes that must have succeeded before, without a say in the result.
    command: ``{output}`` in it stands for the node's own folder, ``{NAME}`` for that of the parent NAME.
    collect: parents whose result.json files are copied to ``{output}/results`` first.
    nodes, gpus, tasks: machines of the job, GPUs and processes (tasks) of each. flops, steps (iterations): of the whole
    job. hours: in place of an estimate from them. disk: bytes that it leaves. data: name of the data set that it reads,
    roots: its folders where the config says them. framework: of a detector.
    """

    name: str
    kind: Literal["pretrain", "convert", "transfer", "tables"]
    settings: dict
    command: Command
    parents: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()
    nodes: int = 1
    gpus: int = 0
    tasks: int = 1
    flops: float = 0.0
    steps: int = 0
    hours: float | None = None
    disk: float = 0.0
    data: str = ""
    roots: tuple[str, ...] = ()
    framework: str = ""


class Graph:
    """Nodes in an order in which parents come first; of nodes with one result, that grids name differently, the first.

    UserError for an unknown parent or a cycle.
    """

    def __init__(self, nodes: Iterable[Node]):
        named: dict[str, Node] = {}
        for node in nodes:
            if node.name in named and named[node.name] != node:
                raise UserError(f"two different nodes are called '{node.name}'")
            named[node.name] = node
        self.nodes: dict[str, Node] = {}
        self.hashes: dict[str, str] = {}
        self._first: dict[str, str] = {}  # hash -> the name under which the graph keeps the node
        for name in in_order(named):
            node = named[name]
            self.hashes[name] = node_hash(node, {parent: self.hashes[parent] for parent in node.parents})
            if self._first.setdefault(self.hashes[name], name) == name:
                self.nodes[name] = node

    def needs(self, name: str) -> list[str]:
        """The nodes that must have succeeded before this one."""
        node = self.nodes[name]
        return list(dict.fromkeys(self._first[self.hashes[parent]] for parent in (*node.parents, *node.after)))

    def folder(self, name: str, store: Path) -> Path:
        """Where the node's result lies: below ``store``, a readable name and its hash.

        A grid that has the node under another name finds it by the hash.
        """
        short = self.hashes[name][:12]
        return min(store.glob(f"*-{short}"), default=store / f"{name.replace('/', '_')}-{short}")


def in_order(nodes: dict[str, Node]) -> list[str]:
    """Names, parents first and otherwise as given. UserError names the nodes of a cycle."""
    done: list[str] = []
    seen: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in seen:
            return
        if name in path:
            cycle = (*path[path.index(name) :], name)
            raise UserError(f"the grid has a cycle: {' needs '.join(cycle)}")
        if name not in nodes:
            raise UserError(f"'{path[-1]}' needs '{name}', which the grid does not have{nearest(name, nodes)}")
        for parent in (*nodes[name].parents, *nodes[name].after):
            visit(parent, (*path, name))
        seen.add(name)
        done.append(name)

    for name in nodes:
        visit(name, ())
    return done


def node_hash(node: Node, parents: dict[str, str]) -> str:
    """SHA-256 of what determines the node's result: its kind, its settings and its parents', not its name."""
    # a parent's name in a setting stands for its result
    settings = re.sub(r"\{([^{}\"]+)\}", lambda m: parents.get(m[1], m[0]), json.dumps(node.settings, sort_keys=True))
    text = json.dumps([node.kind, settings, sorted(parents.values())])
    return hashlib.sha256(text.encode()).hexdigest()


def expand(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Those of ``names`` that equal a pattern, match it, or lie below it; UserError for a pattern without any."""
    names, found = list(names), []
    for pattern in patterns:
        hits = [n for n in names if fnmatchcase(n, pattern) or n.startswith(f"{pattern}/") or n.endswith(f"/{pattern}")]
        if not hits:
            raise UserError(f"no job is called '{pattern}'{nearest(pattern, names)}")
        found += [hit for hit in hits if hit not in found]
    return found
