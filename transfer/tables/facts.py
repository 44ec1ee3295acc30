"""What a result says of itself, as flat text that the rows of a table select by, and figures over several seeds.

Facts: task, dataset, method, backbone, stem, width, protocol, framework, image_size, iterations; and of the
pretraining, where the checkpoint records it: pretrained_on, epochs, long (800 epochs and more), teacher, and the
columns of Tables 7 to 9 (base_loss, distill_loss, aux_head, momentum_base, momentum_sub, sandwich, dynamic_sampling,
group_reg) as ``yes`` and ``no``.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from transfer.tables.table import MISSING, Cell

# fact -> where the checkpoint's metadata records it
PRETRAINING = {
    "pretrained_on": ("data", "name"),
    "epochs": ("epochs",),
    "teacher": ("teacher",),
    "base_loss": ("objective", "base"),
    "distill_loss": ("objective", "distill"),
    "aux_head": ("objective", "aux_head"),
    "momentum_base": ("objective", "momentum_base"),
    "momentum_sub": ("objective", "momentum_sub"),
    "sandwich": ("sampling", "sandwich"),
    "dynamic_sampling": ("sampling", "dynamic"),
    "alpha": ("optimizer", "alpha"),
}


def facts(record: dict) -> dict[str, str]:
    """The facts of one ``result.json``; those that it does not record are absent."""
    details = record["details"]
    found = {key: record[key] for key in ("task", "dataset", "method", "backbone", "width")}
    found |= {name: details.get(name) for name in ("protocol", "framework", "iterations")}
    found["image_size"] = details.get("image_size") or _at(details, ("settings", "image_size"))
    pretraining = details.get("pretraining") or {}
    for name, path in PRETRAINING.items():
        found[name] = _at(pretraining, path)
    found["stem"] = _at(pretraining, ("backbone", "stem"))
    if found["alpha"] is not None:
        found["group_reg"] = found["alpha"] > 0
    if found["epochs"] is not None:
        found["long"] = found["epochs"] >= 800
    return {name: text(value) for name, value in found.items() if value is not None}


def text(value: object) -> str:
    """``yes``/``no`` for booleans, numbers without trailing zeros."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _at(values: object, path: tuple[str, ...]) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


@dataclass(frozen=True)
class Figure:
    """A metric over the seeds of one cell: mean, sample deviation (None for a single seed), number of seeds."""

    mean: float
    deviation: float | None
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.deviation is None else f"{self.mean:.1f} ± {self.deviation:.1f}"


def figure(records: Iterable[dict], metric: str) -> Figure | None:
    """``metric`` over the seeds of ``records`` (oldest first): the last of equal seeds counts. None without any."""
    by_seed = {}
    for record in records:
        pretraining = record["details"].get("pretraining") or {}
        value = record["metrics"].get(metric)
        if value is not None:
            by_seed[pretraining.get("seed"), record["seed"]] = value
    if not by_seed:
        return None
    values = list(by_seed.values())
    return Figure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def shown(value: Figure | None) -> str:
    """Text of a cell; a missing figure is visibly missing."""
    return MISSING if value is None else str(value)


def cell(value: Figure | None, paper: str | None = None) -> Cell:
    """The cell of a figure, beside the paper's."""
    return Cell(shown(value), paper, None if value is None else value.mean)
