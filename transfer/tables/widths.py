"""The plain table: every figure that there is against width, pretrained and random beside each other."""

from dataclasses import dataclass

from transfer.tables.facts import Figure, cell, facts, figure
from transfer.tables.table import Cell, Table
from transfer.targets import METRICS, TASKS, headline

# facts that may tell results of one method apart -> what a column of them is called
COLUMNS = {
    "pretrained_on": "pretrained on", "epochs": "epochs", "stem": "stem", "protocol": "protocol",
    "framework": "framework", "image_size": "image size", "iterations": "iterations",
}  # fmt: skip


@dataclass
class Series:
    """One metric of one method over widths. key: (task, dataset, metric, backbone, method, *varying facts).

    names: of the varying facts.
    """

    key: tuple[str, ...]
    figures: dict[float, Figure]
    macs: dict[float, int]
    names: tuple[str, ...] = ()


def headlines(record: dict) -> list[str]:
    """The metrics to show, as ``transfer.targets`` lists them for the target or the task."""
    wanted = headline(record["details"].get("target", record["dataset"]), record["task"])
    return [metric for metric in wanted if metric in record["metrics"]]


def all_facts(records: list[dict]) -> list[dict[str, str]]:
    """The facts of each result. Random weights do not say their stem: it is that of a pretrained network of the same
    width with as many parameters."""
    found = [facts(record) for record in records]
    places = [(record["backbone"], record["width"], record["params"]) for record in records]
    stems = {place: f["stem"] for place, f in zip(places, found) if "stem" in f}
    return [f if "stem" in f or place not in stems else {**f, "stem": stems[place]} for place, f in zip(places, found)]


def varying(records: list[dict]) -> list[str]:
    """The facts that tell several results on one task, data set and backbone apart, where there are several."""
    values: dict[tuple[str, ...], set[str]] = {}
    for f in all_facts(records):
        for name in COLUMNS:
            if name in f:
                values.setdefault((name, f["task"], f["dataset"], f["backbone"]), set()).add(f[name])
    return [name for name in COLUMNS if any(key[0] == name and len(found) > 1 for key, found in values.items())]


def series(records: list[dict]) -> list[Series]:
    """All lines of the table and of the plot: by task, data set, metric, backbone; random last."""
    extra = varying(records)
    groups: dict[tuple[str, ...], dict[float, list[dict]]] = {}
    for record, known in zip(records, all_facts(records)):
        for metric in headlines(record):
            key = (record["task"], record["dataset"], metric, record["backbone"], record["method"])
            key += tuple(known.get(name, "") for name in extra)
            groups.setdefault(key, {}).setdefault(record["width"], []).append(record)
    lines = []
    for key, by_width in groups.items():
        figures = {width: figure(group, key[2]) for width, group in by_width.items()}
        figures = {width: value for width, value in figures.items() if value is not None}
        macs = {width: group[-1]["macs"] for width, group in by_width.items()}
        lines.append(Series(key, figures, macs, tuple(extra)))
    order = list(TASKS)
    return sorted(lines, key=lambda s: (order.index(s.key[0]), s.key[1:4], s.key[4] == "random", s.key[4:]))


def widths_table(records: list[dict]) -> Table:
    """Rows: task, data set, metric and method; then parameters and MACs. Columns: widths, widest first."""
    extra = [COLUMNS[name] for name in varying(records)]
    widths = sorted({record["width"] for record in records}, reverse=True)
    table = Table(
        "widths", "Accuracy and average precision (%) against width.",
        ["task", "data", "metric", "backbone", "method", *extra], [str(width) for width in widths],
        compare=("task", "data", "metric", "backbone"),
    )  # fmt: skip
    for line in series(records):
        task, dataset, metric, *rest = line.key
        cells = [cell(line.figures.get(width)) for width in widths]
        table.rows.append(([task, dataset, METRICS.get(metric, metric), *rest], cells))
    for label, found, values in costs(records):
        cells = [Cell(values[width]) if width in values else Cell() for width in widths]
        table.rows.append(([*label, "", *(found.get(name, "") for name in varying(records))], cells))
    return table


Cost = tuple[list[str], dict[str, str], dict[float, str]]  # labels up to the backbone, facts, text by width


def costs(records: list[dict]) -> list[Cost]:
    """Rows of cost by width: parameters of each backbone and stem, MACs on each data set and image size (by task, where
    they differ)."""
    parameters: dict[tuple[str, ...], dict[float, str]] = {}
    macs: dict[tuple[str, ...], dict[str, dict[float, int]]] = {}
    for record, known in zip(records, all_facts(records)):
        width, backbone, stem = record["width"], record["backbone"], known.get("stem", "")
        parameters.setdefault((backbone, stem), {})[width] = f"{record['params'] / 1e6:.2f}"
        place = (record["dataset"], backbone, stem, known.get("image_size", ""))
        macs.setdefault(place, {}).setdefault(record["task"], {})[width] = record["macs"]
    rows: list[Cost] = [
        (["", "", "params (M)", backbone], {"stem": stem}, values)
        for (backbone, stem), values in sorted(parameters.items())
    ]
    datasets = list(dict.fromkeys(place[0] for place in macs))
    for place in sorted(macs, key=lambda place: datasets.index(place[0])):
        (dataset, backbone, stem, size), tasks = place, macs[place]
        merged: list[tuple[str, dict[float, int]]] = []
        for task, values in tasks.items():
            same = next((known for _, known in merged if _agree(known, values)), None)
            if same is None:
                merged.append((task, dict(values)))
            else:
                same.update(values)
        for task, values in merged:
            cells = {width: f"{value / 1e6:.1f}" for width, value in values.items()}
            label = [task if len(merged) > 1 else "", dataset, "MACs (M)", backbone]
            rows.append((label, {"stem": stem, "image_size": size}, cells))
    return rows


def _agree(one: dict[float, int], other: dict[float, int]) -> bool:
    """Whether two image sizes are the same: equal MACs at every common width, of which there is at least one."""
    common = one.keys() & other.keys()
    return bool(common) and all(one[width] == other[width] for width in common)
