"""Results sorted into experiments: what is a seed or a width of one, and what tells one from another of its method."""

from dataclasses import dataclass, field

from pretrain.common.errors import UserError
from transfer.tables.facts import decisive, evaluation, facts, seeds

# how a decisive path is called; the last part of others, e.g. ``lr`` of ``pretraining.optimizer.lr``
CALLED = {
    "pretraining.data.name": "pretrained on", "pretraining.data.images": "images", "pretraining.batch_size": "batch",
    "calibration.on": "statistics of", "calibration.data": "statistics of", "settings.image_size": "image size",
    "images.train": "training images", "images.test": "test images", "batch": "detector's batch",
    "learning_rate": "detector's lr", "architecture.base_channels": "base channels",
    "pretraining.teacher_weights.lineage": "teacher",
}  # fmt: skip
# shown where nothing that can be read tells apart
DIGESTS = (
    "pretraining.lineage", "pretraining.teacher_weights.lineage", "images.digest", "annotations", "checkpoint",
)  # fmt: skip
DIGEST = 8  # characters of a digest that are shown
SHOWN = 6  # of the names in which experiments differ, unless more are needed
# what a reader asks of two evaluations first; all of it that differs is shown
ASKED = ("protocol", "framework", "runtime", "image_size", "settings.image_size", "iterations", "settings.labels")


@dataclass
class Experiment:
    """records: of all its widths and seeds, oldest first. known: its facts, but for the width. differs: by its path,
    what tells it from other experiments of its task, data set, backbone and method. evaluated: what tells its
    evaluation from those of other methods, where a table shows both (``compare_evaluations``)."""

    records: list[dict]
    differs: dict[str, str] = field(default_factory=dict)
    evaluated: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, str]:
        return facts(self.records[-1])

    @property
    def family(self) -> tuple[str, str, str, str]:
        record = self.records[0]
        return record["task"], record["dataset"], record["backbone"], record["method"]

    def by_width(self) -> dict[float, list[dict]]:
        """Errors: UserError for results of equal settings and width that cost different things."""
        found: dict[float, list[dict]] = {}
        for record in self.records:
            found.setdefault(record["width"], []).append(record)
        for width, group in found.items():
            costs = sorted({(record["params"], record["macs"]) for record in group})
            if len(costs) > 1:
                what = " and ".join(f"{params} parameters, {macs} MACs" for params, macs in costs)
                raise UserError(
                    f"results of {' '.join(self.family)} at width {width:g} say the same of themselves, but cost "
                    f"different things, {what}: they are no seeds of one experiment; expected each in its own folder"
                )
        return found

    def said(self, without: tuple[str, ...] = ()) -> str:
        """``lr 0.1, base channels 32``: what tells it apart, but for the paths ``without``."""
        return worded({path: text for path, text in (self.differs | self.evaluated).items() if path not in without})


def worded(shown: dict[str, str]) -> str:
    """``lr 0.1, base channels 32`` of values by their paths."""
    return ", ".join(f"{called(path)} {value}" for path, value in shown.items())


def called(path: str) -> str:
    return CALLED.get(path, path.rpartition(".")[2].replace("_", " "))


def experiments(records: list[dict]) -> list[Experiment]:
    """Every experiment of ``records`` (oldest first), in the order of their first results."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        key = (record["task"], record["dataset"], record["backbone"], record["method"])
        groups.setdefault((*key, *sorted(decisive(record).items())), []).append(record)
    found = [Experiment(part) for group in groups.values() for part in apart(group)]
    families: dict[tuple, list[Experiment]] = {}
    for experiment in found:
        families.setdefault(experiment.family, []).append(experiment)
    for family in families.values():
        tell_apart(family)
    return found


def apart(group: list[dict]) -> list[list[dict]]:
    """The results of equal settings, by their checkpoints if two of those say that they are of one seed: something that
    is not recorded was different, and the later must not hide the earlier."""
    checkpoints: dict[tuple, set] = {}
    for record in group:
        checkpoints.setdefault((record["width"], seeds(record)), set()).add(record["checkpoint"])
    if all(len(found) == 1 for found in checkpoints.values()):
        return [group]
    parts: dict[str | None, list[dict]] = {}
    for record in group:
        parts.setdefault(record["checkpoint"], []).append(record)
    return list(parts.values())


def tell_apart(family: list[Experiment]) -> None:
    """Note in each of several experiments what it differs in from the others; digests only where they are needed, and
    the name of a plan always, which no column tells."""
    values = [decisive(experiment.records[0]) for experiment in family]
    for value, experiment in zip(values, family):
        value["checkpoint"] = (experiment.records[0]["checkpoint"] or "")[:DIGEST]
    for value, experiment, shown in zip(values, family, differences(values)):
        experiment.differs = {name: value[name] for name in ("plan",) if name in value} | shown


def compare_evaluations(found: list[Experiment]) -> None:
    """Note in each experiment what its evaluation differs in from others on its task, data set and backbone."""
    groups: dict[tuple[str, ...], list[Experiment]] = {}
    for experiment in found:
        groups.setdefault(experiment.family[:3], []).append(experiment)
    for group in groups.values():
        values = [evaluation(experiment.records[0]) for experiment in group]
        for experiment, shown in zip(group, differences(values, ASKED)):
            experiment.evaluated = shown


def differences(values: list[dict[str, str]], asked: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """What tells each of ``values`` from those that are not equal to it, digests only where nothing else does.

    Of names that sort the values alike the first is shown, of ``asked`` all. Of more than ``SHOWN`` those that the
    others make needless are left out.
    """
    names = list(dict.fromkeys(name for value in values for name in value))
    order = [*asked, *CALLED]
    names.sort(key=lambda name: (name in DIGESTS, order.index(name) if name in order else len(order)))

    def column(name: str) -> tuple[int, ...]:
        """The same for names that sort the values alike."""
        found = [value.get(name) for value in values]
        return tuple(map(found.index, found))

    def kinds(names: list[str]) -> int:
        return len({tuple(value.get(name) for name in names) for value in values})

    columns: dict[tuple[int, ...], str] = {}
    for name in filter(lambda name: any(column(name)), names):
        columns.setdefault(column(name), name)
    chosen = [name for name in names if any(column(name)) and (name in asked or columns[column(name)] == name)]
    for name in reversed(chosen.copy()):
        fewer = [other for other in chosen if other != name]
        needless = name not in asked and kinds(fewer) == kinds(chosen)
        if needless and (name in DIGESTS or len(chosen) > SHOWN):
            chosen = fewer
    return [
        {name: value[name][: DIGEST if name in DIGESTS else None] for name in chosen if name in value}
        for value in values
    ]
