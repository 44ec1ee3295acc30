"""Rows of cost by width: parameters of each network, MACs on each data set and image size."""

from dataclasses import dataclass

from transfer.tables.experiments import Experiment
from transfer.tables.facts import decisive

CostRow = tuple[list[str], dict[str, str], dict[float, str]]  # labels up to the backbone, facts, text by width


@dataclass
class CostEntry:
    """One count by width. place: (data set, its name, backbone). network: the architecture's arguments, empty where
    they are not recorded."""

    place: tuple[str, str, str]
    task: str
    network: tuple
    facts: dict[str, str]
    values: dict[float, int]

    def take(self, other: "CostEntry") -> bool:
        """Whether ``other`` is of the same thing; then its widths are taken over."""
        common = self.values.keys() & other.values.keys()
        agree = all(self.values[width] == other.values[width] for width in common)
        same = self.network == other.network and self.facts == other.facts and self.task == other.task
        known = self.network == other.network or not (self.network and other.network)
        if self.place != other.place or not agree or not (same or (known and common)):
            return False
        self.values, self.network = other.values | self.values, self.network or other.network
        self.facts = other.facts | self.facts
        return True


def cost_rows(found: list[Experiment]) -> list[CostRow]:
    """Parameters first; the task is named where one data set has several counts, the network where there are several.

    Errors: UserError for results of equal settings that cost different things.
    """
    parameters, macs = [], []
    for experiment in found:
        task, dataset, backbone, _ = experiment.family
        groups, known = experiment.by_width(), experiment.known
        arguments = decisive(experiment.records[0])
        network = tuple(item for item in arguments.items() if item[0].startswith("architecture.") or item[0] == "plan")
        stem = {"stem": known["stem"]} if "stem" in known else {}
        size = {"image_size": known["image_size"]} if "image_size" in known else {}
        counts = {name: {width: group[0][name] for width, group in groups.items()} for name in ("params", "macs")}
        add(parameters, CostEntry(("", "params (M)", backbone), "", network, stem, counts["params"]))
        add(macs, CostEntry((dataset, "MACs (M)", backbone), task, network, stem | size, counts["macs"]))
    parameters.sort(key=lambda cost: cost.place)
    rows = [row(cost, parameters, 2) for cost in parameters]
    datasets = list(dict.fromkeys(cost.place[0] for cost in macs))
    return rows + [row(cost, macs, 1) for cost in sorted(macs, key=lambda cost: datasets.index(cost.place[0]))]


def add(costs: list[CostEntry], cost: CostEntry) -> None:
    if not any(other.take(cost) for other in costs):
        costs.append(cost)


def row(cost: CostEntry, costs: list[CostEntry], digits: int) -> CostRow:
    dataset, name, backbone = cost.place
    others = [other for other in costs if other.place == cost.place and other is not cost]
    known = dict(cost.facts)
    several = [dict(other.network) for other in others if other.network != cost.network]
    differs = [(path, value) for path, value in cost.network if any(other.get(path) != value for other in several)]
    told = (f"{path.rpartition('.')[2].replace('_', ' ')} {value}" for path, value in differs if "stem" not in path)
    known["settings"] = ", ".join(told)
    task = cost.task if any(other.task != cost.task for other in others) else ""
    return [task, dataset, name, backbone], known, {w: f"{v / 1e6:.{digits}f}" for w, v in cost.values.items()}
