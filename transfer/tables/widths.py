"""Every figure that there is against width, pretrained and random beside each other."""

from dataclasses import dataclass, field, replace

from transfer.tables.costs import cost_rows
from transfer.tables.experiments import Experiment, compare_evaluations, experiments
from transfer.tables.facts import facts
from transfer.tables.figure import Figure, cell, figure, seeds_note
from transfer.tables.table import Cell, Table
from transfer.targets import METRICS, TASKS, headline

SETTINGS = "settings"  # column of what tells experiments or their evaluations apart and has no column of its own
# fact that may tell results apart -> what its column is called, and the decisive paths that it shows
COLUMNS = {
    "pretrained_on": ("pretrained on", ("pretraining.data.name",)),
    "epochs": ("epochs", ("pretraining.epochs",)),
    "batch": ("batch", ("pretraining.batch_size",)),
    "stem": ("stem", ("architecture.stem",)),
    "protocol": ("protocol", ("protocol",)),
    "framework": ("framework", ("framework",)),
    "runtime": ("runtime", ("runtime",)),
    "image_size": ("image size", ("image_size", "settings.image_size")),
    "iterations": ("iterations", ("iterations",)),
    "labels": ("labels", ("settings.labels",)),
}


@dataclass
class Series:
    """One metric of one experiment over widths. key: (task, dataset, metric, backbone, method, *varying facts).

    names: of the varying facts. about: all its facts.
    """

    key: tuple[str, ...]
    figures: dict[float, Figure]
    macs: dict[float, int]
    names: tuple[str, ...] = ()
    about: dict[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """Number of seeds of the figure that has most."""
        return max((figure.seeds for figure in self.figures.values()), default=0)


def headlines(record: dict) -> list[str]:
    """The metrics to show, as ``transfer.targets`` lists them for the target or the task."""
    target = record["details"].get("target")
    wanted = headline(target if isinstance(target, str) else record["dataset"], record["task"])
    return [metric for metric in wanted if metric in record["metrics"]]


def varying(records: list[dict]) -> list[str]:
    """The facts of ``COLUMNS`` that tell results on one task, data set and backbone apart, where there are several."""
    values: dict[tuple[str, ...], set[str]] = {}
    for known in map(facts, records):
        for name in COLUMNS:
            if name in known:
                place = (name, known["task"], known["dataset"], known["backbone"])
                values.setdefault(place, set()).add(known[name])
    return [name for name in COLUMNS if any(key[0] == name and len(found) > 1 for key, found in values.items())]


def told(experiment: Experiment, extra: list[str]) -> tuple[str, ...]:
    """The experiment's values in the columns ``extra`` and in that of the settings."""
    covered = tuple(path for name in extra for path in COLUMNS[name][1])
    return *(experiment.known.get(name, "") for name in extra), experiment.said(covered)


def series(records: list[dict]) -> list[Series]:
    """All lines of the table and of the plot: by task, data set, metric, backbone; random last.

    Errors: UserError for results of equal settings that cost different things.
    """
    extra, lines, found = varying(records), [], experiments(records)
    compare_evaluations(found)
    for experiment in found:
        task, dataset, backbone, method = experiment.family
        groups = experiment.by_width()
        macs = {width: group[0]["macs"] for width, group in groups.items()}
        for metric in dict.fromkeys(metric for record in experiment.records for metric in headlines(record)):
            figures = {width: figure(group, metric) for width, group in groups.items()}
            figures = {width: value for width, value in figures.items() if value is not None}
            key = (task, dataset, metric, backbone, method, *told(experiment, extra))
            lines.append(Series(key, figures, macs, (*extra, SETTINGS), experiment.known))
    if not any(line.key[-1] for line in lines):
        lines = [replace(line, key=line.key[:-1], names=line.names[:-1]) for line in lines]
    order = list(TASKS)
    return sorted(lines, key=lambda s: (order.index(s.key[0]), s.key[1:4], s.key[4] == "random", s.key[4:]))


def widths_table(records: list[dict]) -> Table:
    """Rows: task, data set, metric and method; then parameters and MACs. Columns: widths, widest first."""
    lines = series(records)
    names = lines[0].names if lines else ()
    widths = sorted({record["width"] for record in records}, reverse=True)
    table = Table(
        "widths", "Accuracy and average precision (%) against width.",
        ["task", "data", "metric", "backbone", "method", *(COLUMNS[n][0] if n in COLUMNS else n for n in names)],
        [str(width) for width in widths], compare=("task", "data", "metric", "backbone"),
    )  # fmt: skip
    for line in lines:
        task, dataset, metric, *rest = line.key
        cells = [cell(line.figures.get(width)) for width in widths]
        table.rows.append(([task, dataset, METRICS.get(metric, metric), *rest], cells))
    for label, found, values in cost_rows(experiments(records)):
        cells = [Cell(values[width]) if width in values else Cell() for width in widths]
        table.rows.append(([*label, "", *(found.get(name, "") for name in names)], cells))
    protocols = sorted({line.about["protocol"] for line in lines if "protocol" in line.about})
    said = [f"Protocol: {', '.join(protocols)}."] if protocols else []
    table.notes = " ".join([*said, seeds_note([line.seeds for line in lines if line.figures])])
    return table
