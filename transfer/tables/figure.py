"""Figures over several seeds, and the cells that show them."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from transfer.results import settings_hash
from transfer.tables.facts import evaluation, seeds
from transfer.tables.table import MISSING, Cell


@dataclass(frozen=True)
class Figure:
    """A metric over the seeds of one cell: mean, sample deviation (None for a single seed), number of seeds, and what
    it was evaluated by (``facts.evaluation``, as a hash)."""

    mean: float
    deviation: float | None
    seeds: int
    evaluation: str = ""

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.deviation is None else f"{self.mean:.1f} ± {self.deviation:.1f}"


def figure(records: Iterable[dict], metric: str) -> Figure | None:
    """``metric`` over the seeds of one experiment and width, oldest first; None without any.

    Of equal seeds the last counts: an experiment that was done again.
    """
    last = {seeds(record): record for record in records}
    found = [record for record in last.values() if record["metrics"].get(metric) is not None]
    if not found:
        return None
    values = [record["metrics"][metric] for record in found]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values), settings_hash(evaluation(found[-1])))


def shown(value: Figure | None) -> str:
    """Text of a cell; a missing figure is visibly missing."""
    return MISSING if value is None else str(value)


def cell(value: Figure | None, paper: str | None = None) -> Cell:
    """The cell of a figure, beside the paper's."""
    return Cell(shown(value), paper) if value is None else Cell(shown(value), paper, value.mean, value.evaluation)


def seeds_note(counts: list[int]) -> str:
    """How many seeds the figures of a table or a plot are of, in a sentence; nothing without a figure."""
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    if high == 1:
        return "One seed each."
    many = f"{high} seeds" if low == high else f"{low} to {high} seeds"
    return f"Mean and standard deviation over {many}."
