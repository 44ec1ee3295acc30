"""The plain table: every figure that there is against width, pretrained and random beside each other."""

from dataclasses import dataclass

from transfer.tables.facts import Figure, facts, figure, shown
from transfer.tables.table import Cell, Table

HEADLINES = {"linear": ["top1"], "knn": ["top1"], "detection": ["box/AP", "mask/AP"]}
CAPTIONS = {"top1": "top-1 %", "box/AP": "box AP", "mask/AP": "mask AP"}
COLUMNS = {"pretrained_on": "pretrained on", "epochs": "epochs", "protocol": "protocol"}


@dataclass
class Series:
    """One metric of one method over widths. key: (task, dataset, metric, backbone, method, *varying facts)."""

    key: tuple[str, ...]
    figures: dict[float, Figure]
    macs: dict[float, int]


def varying(records: list[dict]) -> list[str]:
    """The facts that tell several pretrainings or protocols of one method apart, if there are several."""
    found = [facts(record) for record in records]
    return [name for name in COLUMNS if len({f[name] for f in found if name in f}) > 1]


def series(records: list[dict]) -> list[Series]:
    """All lines of the table and of the plot: by task, data set, metric, backbone; random last."""
    extra = varying(records)
    groups: dict[tuple[str, ...], dict[float, list[dict]]] = {}
    for record in records:
        known = facts(record)
        for metric in HEADLINES[record["task"]]:
            if metric in record["metrics"]:
                key = (record["task"], record["dataset"], metric, record["backbone"], record["method"])
                key += tuple(known.get(name, "") for name in extra)
                groups.setdefault(key, {}).setdefault(record["width"], []).append(record)
    lines = []
    for key, by_width in groups.items():
        figures = {width: figure(group, key[2]) for width, group in by_width.items()}
        figures = {width: value for width, value in figures.items() if value is not None}
        lines.append(Series(key, figures, {width: group[-1]["macs"] for width, group in by_width.items()}))
    order = ["linear", "knn", "detection"]
    return sorted(lines, key=lambda s: (order.index(s.key[0]), s.key[1:4], s.key[4] == "random", s.key[4:]))


def widths_table(records: list[dict]) -> Table:
    """Rows: task, data set, metric and method; then parameters and MACs. Columns: widths, widest first."""
    extra = [COLUMNS[name] for name in varying(records)]
    widths = sorted({record["width"] for record in records}, reverse=True)
    table = Table(
        "widths", "Accuracy and average precision (%) against width.",
        ["task", "data", "metric", "backbone", "method", *extra], [str(width) for width in widths],
    )  # fmt: skip
    for line in series(records):
        task, dataset, metric, *rest = line.key
        cells = [Cell(shown(line.figures.get(width))) for width in widths]
        table.rows.append(([task, dataset, CAPTIONS.get(metric, metric), *rest], cells))
    for label, values in costs(records):
        cells = [Cell(values[width]) if width in values else Cell() for width in widths]
        table.rows.append(([*label, *([""] * (len(extra) + 1))], cells))
    return table


def costs(records: list[dict]) -> list[tuple[list[str], dict[float, str]]]:
    """Rows of cost by width: parameters of each backbone, its MACs on each data set (by task, where they differ)."""
    parameters: dict[str, dict[float, str]] = {}
    macs: dict[tuple[str, str], dict[str, dict[float, int]]] = {}
    for record in records:
        width, backbone = record["width"], record["backbone"]
        parameters.setdefault(backbone, {})[width] = f"{record['params'] / 1e6:.2f}"
        macs.setdefault((record["dataset"], backbone), {}).setdefault(record["task"], {})[width] = record["macs"]
    rows = [(["", "", "params (M)", backbone], values) for backbone, values in sorted(parameters.items())]
    for (dataset, backbone), tasks in macs.items():
        merged: list[tuple[str, dict[float, int]]] = []
        for task, values in tasks.items():
            same = next((known for _, known in merged if _agree(known, values)), None)
            if same is None:
                merged.append((task, dict(values)))
            else:
                same.update(values)
        for task, values in merged:
            cells = {width: f"{value / 1e6:.1f}" for width, value in values.items()}
            rows.append(([task if len(merged) > 1 else "", dataset, "MACs (M)", backbone], cells))
    return rows


def _agree(one: dict[float, int], other: dict[float, int]) -> bool:
    """Whether two image sizes are the same: equal MACs at every common width, of which there is at least one."""
    common = one.keys() & other.keys()
    return bool(common) and all(one[width] == other[width] for width in common)
