"""Grids as people write them (``configs/grids/*.py``) and the graphs that they stand for.

pretrain = dict(
    us3l=dict(config="configs/pretrain/us3l_resnet18_cifar10.py"),
    ablation=dict(config="configs/pretrain/table7.py:case*"),        # one pretraining for each row that matches
    byol=dict(config="configs/pretrain/table2.py:resnet18_byol"),
    seed=dict(config="configs/pretrain/table2.py:resnet18_seed", teacher="byol"),
)
transfer = [dict(of=["us3l", "case*"], target="cifar10", widths=[1.0, 0.5], seeds=[0, 1])]
tables = [dict(table="2")]
include = ["table4.py"]                                              # everything that another grid has
"""

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from pretrain.common.errors import UserError, nearest
from pretrain.common.repository import ROOT
from pretrain.config import PretrainConfig, load_config
from pretrain.configfile import Address, find_configs
from slurm.grid import estimate
from slurm.grid.arguments import check_arguments, short_name
from slurm.grid.determined import TEACHER, begun_with, is_layout, recipe_named, roots_of, with_absolute_roots
from slurm.grid.graph import Command, Graph, Node
from slurm.grid.gridfile import PretrainingRow, TableRow, TransferRow, read_grid
from transfer.command import parse
from transfer.recipes import RECIPES, recipe_hash
from transfer.tables import NAMES, SUFFIXES
from transfer.targets import FRAMEWORKS, TARGETS, targets_of


def load_graph(path: Path, gpus: int, data: dict[str, str] | None = None) -> Graph:
    """The graph of a grid file. gpus: of a node of the cluster, for rows that ask for no number. data: a preset's.

    Errors: UserError for a missing file, an unknown key or name, or a cycle.
    """
    return Graph(nodes_of(path, gpus, data or {}))


def nodes_of(path: Path, gpus: int, data: dict[str, str], within: tuple[Path, ...] = ()) -> list[Node]:
    """Nodes of a grid and of those that it includes."""
    path = Path(path)
    if path.resolve() in within:
        cycle = " includes ".join(p.name for p in (*within[within.index(path.resolve()) :], path))
        raise UserError(f"the grid has a cycle: {cycle}")
    grid, found = read_grid(path), []
    for other in grid.include:
        found += nodes_of(path.parent / other, gpus, data, (*within, path.resolve()))
    builder = Builder(path, gpus, data, [node.name for node in found if node.kind == "transfer"])
    for name, row in grid.pretrain.items():
        builder.pretrain(name, row)
    for row in grid.transfer:
        builder.transfer(row)
    for row in grid.tables:
        builder.table(row)
    nodes: dict[str, Node] = {}
    for node in (*found, *builder.nodes.values()):
        if nodes.setdefault(node.name, node) != node:
            raise UserError(
                f"{path}: two different jobs are called '{node.name}', as jobs are by their grid's file; expected"
                " files of different names in include"
            )
    return [*nodes.values()]


class Builder:
    """Collects the nodes of one grid file; names are made unique by the file's own. included: transfers of others,
    which its tables show as well."""

    def __init__(self, path: Path, gpus: int, data: dict[str, str], included: list[str]):
        self.path, self.label, self.gpus, self.data = path, path.stem, gpus, data
        self.nodes: dict[str, Node] = {}
        self.pretrained: dict[str, tuple[str, PretrainConfig]] = {}  # name in the grid -> node and its config
        self.transfers: list[str] = included

    def add(self, node: Node) -> str:
        if node.name in self.nodes and self.nodes[node.name] != node:
            raise UserError(f"{self.path}: two different jobs are called '{node.name}'")
        self.nodes[node.name] = node
        return node.name

    def pretrain(self, name: str, row: PretrainingRow) -> None:
        """A node for each config that ``row.config`` matches."""
        found = find_configs(row.config, ROOT)
        if not found:
            known = [str(one).removeprefix(f"{ROOT}/") for one in find_configs("configs/pretrain/*.py", ROOT)]
            raise UserError(f"{self.path}: {name}: no such config: {row.config}{nearest(row.config, known)}")
        several = any(c in row.config for c in "*?[") or len(found) > 1
        for config in found:
            key = config.run.name if several else name
            rows = {f"{key}-w{w:g}": individual(row, w) for w in row.widths} if row.widths else {key: row}
            for key, one in rows.items():
                if key in self.pretrained:
                    raise UserError(f"{self.path}: two pretrainings are called '{key}'")
                node, settings = pretrain_node(f"{self.label}/{key}", config, one, self.gpus, self.label, self.data)
                self.pretrained[key] = (self.add(node), settings)

    def transfer(self, row: TransferRow) -> None:
        """A node for each pretraining x width x seed x init x framework."""
        if row.target not in TARGETS:
            raise UserError(f"{self.path}: unknown target '{row.target}'{nearest(row.target, TARGETS)}")
        detection = targets_of("detection")
        if row.frameworks and row.target not in detection:
            raise UserError(f"{self.path}: frameworks are for {' and '.join(detection)}, not for {row.target}")
        for key in self.matching(row.of):
            parent, config = self.pretrained[key]
            low, high = config.width_range
            widths = [width for width in row.widths if low <= width <= high]
            if not widths:
                raise UserError(f"{self.path}: no width of {row.widths} is in the range {low:g} to {high:g} of '{key}'")
            for framework in row.frameworks or ((next(iter(FRAMEWORKS)),) if row.target in detection else ("",)):
                after = ()
                if row.convert if row.convert is not None else bool(framework):
                    after = (self.convert(key, framework or "torchvision", widths),)
                for init in row.inits:
                    for width in widths:
                        for seed in row.seeds:
                            what = Chosen(row, framework, init, width, seed)
                            node = transfer_node(f"{self.label}/{key}", parent, config, what, self.gpus, data=self.data)
                            self.transfers.append(self.add(dataclasses.replace(node, after=after)))

    def convert(self, key: str, framework: str, widths: list[float]) -> str:
        """The node that cuts plain backbones out of a universal checkpoint."""
        parent, config = self.pretrained[key]
        texts = [f"{width:g}" for width in widths]
        checkpoint = f"{{{parent}}}/universal.safetensors"
        size = estimate.full_cost(config.backbone, config.data.image_size)[1] * 4 * sum(w**2 for w in widths)
        return self.add(
            Node(
                name=f"{self.label}/{key}/{framework}-{'-'.join(texts)}", kind="convert",
                settings={"arguments": (checkpoint, "--widths", *texts, "--to", framework)}, parents=(parent,),
                disk=size, command=Command("tools/convert.py", checkpoint, options={
                    "--widths": tuple(texts), "--to": (framework,), "--output": ("{output}",),
                }),
            )
        )  # fmt: skip

    def table(self, row: TableRow) -> None:
        """The node that lays the results of all transfers, included ones too, out as a table of the paper."""
        if not self.transfers:
            raise UserError(f"{self.path}: table {row.table} has no transfer to show")
        for word, known in ((row.table, (*NAMES, "all")), *((form, tuple(SUFFIXES)) for form in row.formats)):
            if word not in known:
                raise UserError(f"{self.path}: tables: unknown '{word}'{nearest(word, known)}")
        title = f"table{row.table}" if row.table.isdigit() else row.table
        for form in row.formats:
            flags = ["--paper"] * row.paper + ["--plot"] * row.plot
            options = {"--table": (row.table,), "--format": (form,), **{flag: () for flag in flags}}
            options["--output"] = ("{output}",)
            self.add(
                Node(
                    name=f"{self.label}/{title}-{form}", kind="tables", disk=1e6,
                    settings={"arguments": ["--table", row.table, "--format", form, *flags]},
                    parents=tuple(dict.fromkeys(self.transfers)),
                    collect=tuple(dict.fromkeys(self.transfers)),
                    command=Command("tools/tables.py", "{output}/results", options=options),
                )
            )  # fmt: skip

    def matching(self, patterns: tuple[str, ...] | str) -> list[str]:
        """Names of pretrainings that patterns match; UserError for a pattern that matches none."""
        found: dict[str, None] = {}
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            names = [name for name in self.pretrained if fnmatchcase(name, pattern)]
            if not names:
                raise UserError(f"{self.path}: no pretraining is called '{pattern}'{nearest(pattern, self.pretrained)}")
            found |= dict.fromkeys(names)
        return list(found)


@cache
def row_config(config: Address, overrides: tuple[str, ...]) -> PretrainConfig:
    """``load_config``, once for what many tables have in common."""
    return load_config(config, list(overrides))


def individual(row: PretrainingRow, width: float) -> PretrainingRow:
    """The training of one width by itself."""
    return dataclasses.replace(row, widths=(), overrides=(*row.overrides, f"width_range=({width:g},{width:g})"))


def pretrain_node(
    name: str, address: Address, row: PretrainingRow, gpus: int, label: str | None = None,
    data: dict[str, str] | None = None,
) -> tuple[Node, PretrainConfig]:  # fmt: skip
    """The node of one pretraining, and its config. gpus: of a cluster's node. label: of the grid, for the teacher.
    data: a preset's."""
    parents, teacher, stand_in = (), [], []
    if row.teacher is not None:
        parents = (f"{label}/{row.teacher}",)
        teacher = [f"{row.teacher_key}={{{parents[0]}}}/universal.safetensors"]
        stand_in = [f"{row.teacher_key}={TEACHER}"]
    config = row_config(address, (*row.overrides, *stand_in))
    gpus = row.gpus if row.gpus is not None else fitting(gpus, row.nodes, config)
    tasks = gpus or row.tasks
    processes, chunks = row.nodes * tasks, config.training.chunks
    if chunks is not None and chunks % processes:
        raise UserError(
            f"{address}: training.chunks is {chunks} for {processes} processes; expected a number of them that divides"
        )
    flops, size = estimate.pretraining(config)
    settings: dict[str, Any] = {
        "config": config.hash,
        **begun_with(config, row.overrides, data or {}, row.teacher_key if parents else None),
    }
    if chunks is None:  # one for each process
        settings["processes"] = processes
    node = Node(
        name=name, kind="pretrain", settings=settings, parents=parents, nodes=row.nodes, gpus=gpus, tasks=tasks,
        command=Command(
            "tools/pretrain.py", str(address), (*with_absolute_roots(row.overrides), *teacher),
            {"--work-dir": ("{output}",), "--resume": ()},
        ),
        flops=flops, disk=size, hours=row.hours, data=config.data.name, roots=tuple(roots_of(config)),
        steps=estimate.iterations(config),
    )  # fmt: skip
    return node, config


def fitting(gpus: int, nodes: int, config: PretrainConfig) -> int:
    """The largest number of GPUs a node, up to ``gpus``, among which the config's chunks can be dealt out."""
    chunks = config.training.chunks
    return next((g for g in range(gpus, 0, -1) if chunks is None or chunks % (g * nodes) == 0), 0)


@dataclass(frozen=True)
class Chosen:
    """One choice of each of a transfer's lists."""

    row: TransferRow
    framework: str
    init: str
    width: float
    seed: int


def transfer_node(
    base: str, parent: str | None, config: PretrainConfig, what: Chosen, gpus: int, checkpoint: Path | None = None,
    data: dict[str, str] | None = None,
) -> Node:  # fmt: skip
    """The node of one evaluation of one width. base: the first part of its name. parent: the pretraining's node, or
    None and a ``checkpoint`` that is there. gpus: of a cluster's node. data: a preset's."""
    row = what.row
    options = {"--width": (f"{what.width:g}",), "--seed": (str(what.seed),)}
    options |= {"--init": (what.init,)} if what.init != "pretrained" else {}
    options |= {"--framework": (what.framework,)} if what.framework else {}
    chosen = [word for flag, values in options.items() for word in (flag, *values)]
    said = parse(row.target, [*chosen, *row.arguments])
    check_arguments(row.target, row.arguments)
    own = RECIPES.get(what.framework, {}).get(row.target)
    named = {word: recipe_named(word) for word in row.arguments if word.endswith(".py")}
    files = {name: recipe_hash(path) for name, path in {**({own.name: own} if own else {}), **named}.items()}
    cost = estimate.detection if what.framework else estimate.recognition
    flops, size = cost(config, what.width, said)
    words = [row.target, *filter(None, [what.framework]), *(["random"] if what.init == "random" else [])]
    words += [f"w{what.width:g}", f"s{what.seed}", short_name(row.arguments)]
    gpus = row.gpus if row.gpus is not None else gpus if what.framework else min(1, gpus)
    options["--checkpoint"] = (str(checkpoint) if parent is None else f"{{{parent}}}/universal.safetensors",)
    settings: dict[str, Any] = {"arguments": [row.target, *chosen, *row.arguments], "files": files}
    if what.framework and said.batch is None and gpus > 1:  # each brings images: of another batch, rate and length
        settings["processes"] = gpus
    if is_layout(row.target) and row.target in (data or {}):
        settings["data"] = data[row.target]
    return Node(
        name=f"{base}/{'-'.join(filter(None, words))}", kind="transfer", hours=row.hours, gpus=gpus,
        settings=settings, parents=() if parent is None else (parent,), flops=flops, disk=size, data=row.target,
        framework=what.framework,
        command=Command(
            "tools/transfer.py", row.target, options={**options, "--output": ("{output}",)},
            words=tuple(str(named.get(word, word)) for word in row.arguments),
        ),
    )  # fmt: skip
