"""Tables 1 to 9 and Figure 3 of the paper: its rows and columns, our figures.

The CSV files of transfer/paper/ define each layout and hold the paper's figures. A row's cell collects the results
whose facts (transfer/tables/facts.py) equal the row's ``keys`` and the table's ``where``; other columns are labels.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from transfer.tables.experiments import Experiment, compare_evaluations, differences, experiments, worded
from transfer.tables.facts import OF_NETWORKS, decisive, evaluation, facts, seeds
from transfer.tables.figure import Figure, cell, figure, seeds_note
from transfer.tables.table import MISSING, Cell, Table
from transfer.targets import headline

PAPER = Path(__file__).resolve().parents[1] / "paper"
DETECTION = {
    "AP_bb": "box/AP", "AP50_bb": "box/AP50", "AP75_bb": "box/AP75",
    "AP_mk": "mask/AP", "AP50_mk": "mask/AP50", "AP75_mk": "mask/AP75",
}  # fmt: skip

# The paper's linear evaluation trains on augmented images for its own number of epochs; a quicker protocol's figures
# are no match for it and fill no table of the paper.
LINEAR = {"task": "linear", "protocol": "paper"}
CIFAR100 = {**LINEAR, "dataset": "cifar100", "pretrained_on": "cifar100"}
RESNET18 = {"backbone": "resnet18"}
RESNET50 = {"backbone": "resnet50", "pretrained_on": "imagenet"}
LOSSES = ("base_loss", "distill_loss", "aux_head", "momentum_base", "momentum_sub")
CASE_8 = dict(zip(LOSSES, ("mse", "infonce", "yes", "yes", "yes")))
CASE_13 = dict(zip(LOSSES, ("infonce", "mse", "yes", "yes", "yes")))
WITHOUT_BOTH = {"sandwich": "yes", "dynamic_sampling": "no", "group_reg": "no"}
US3L = {"sandwich": "yes", "dynamic_sampling": "yes", "group_reg": "yes"}
SETTINGS = "settings"  # the label of rows that a result of ours is told apart by
WHOLE = ("2", "4", "5", "6")  # tables whose us3l is the whole method, not one of its ablations
# Table 1 names a method by two columns: (type, method) -> the facts of its results
TABLE_1 = {
    ("supervised", "individual"): {"method": "supervised"},
    ("supervised", "s-net"): {"method": "supervised-s-net"},
    ("supervised", "s-net+distill"): {"method": "supervised-s-net+distill"},
    ("simsiam", "individual"): {"method": "simsiam"},
    ("simsiam", "s-net"): {"method": "simsiam-s-net"},
    ("simsiam", "s-net+distill"): {"method": "simsiam-s-net+distill"},
    ("simsiam", "us3l"): {**CASE_8, **WITHOUT_BOTH},
}


@dataclass(frozen=True)
class Layout:
    """across: what the columns of figures are, ``width``, ``dataset`` or ``metric``. compare: labels within which the
    best is marked."""

    title: str
    keys: tuple[str, ...]
    where: dict[str, str]
    labels: tuple[str, ...] = ()
    across: str = "width"
    show: tuple[str, ...] = ()  # order of the label columns, keys and labels by default
    compare: tuple[str, ...] = ()


LAYOUTS = {
    "1": Layout(
        "CIFAR-100, ResNet-18: top-1 accuracy (%).",
        (), {**CIFAR100, **RESNET18}, ("type", "method"),
        compare=("type",),
    ),
    "2": Layout(
        "CIFAR-100: linear top-1 accuracy (%).",
        ("backbone", "method", "teacher"), CIFAR100, ("once", "cost"), compare=("backbone",),
    ),
    "3": Layout(
        "CIFAR-10, vision transformers: linear top-1 accuracy (%).",
        ("backbone", "method"), {**LINEAR, "dataset": "cifar10", "pretrained_on": "cifar10"}, ("once",),
        compare=("backbone",),
    ),
    "4": Layout(
        "ImageNet: linear top-1 accuracy (%).",
        ("backbone", "method"), {**LINEAR, "dataset": "imagenet", "pretrained_on": "imagenet"}, ("once",),
        compare=("backbone",),
    ),
    "5": Layout(
        "COCO 2017, Mask R-CNN R-50 FPN: average precision (%).",
        ("width", "method"), {"task": "detection", "dataset": "coco", **RESNET50}, across="metric",
        compare=("width",),
    ),
    "6": Layout(
        "ResNet-50 of ImageNet on five data sets: linear accuracy (%), mean of classes on flowers and pets.",
        ("width", "method"), {**LINEAR, **RESNET50}, ("params_M", "macs_G"), "dataset",
        ("width", "params_M", "macs_G", "method"), ("width",),
    ),
    "7": Layout(
        "Loss design, CIFAR-100, ResNet-18: linear top-1 accuracy (%).",
        LOSSES, {**CIFAR100, **RESNET18, **WITHOUT_BOTH}, ("case",), show=("base_loss", "case", *LOSSES[1:]),
    ),
    "8": Layout(
        "Dynamic sampling and group regularisation, CIFAR-100: linear top-1 accuracy (%).",
        ("backbone", "dynamic_sampling", "group_reg"), {**CIFAR100, **CASE_13, "sandwich": "yes"},
        compare=("backbone",),
    ),
    "9": Layout(
        "Sandwich rule and dynamic sampling, CIFAR-100, ResNet-18: linear top-1 accuracy (%).",
        ("sandwich", "dynamic_sampling"), {**CIFAR100, **RESNET18, **CASE_13, "group_reg": "no"},
    ),
}  # fmt: skip


def paper_table(name: str, records: list[dict], with_paper: bool) -> Table:
    """Table ``name`` (``1`` to ``9``) filled with ``records``; with_paper: the paper's figures beside ours."""
    layout = LAYOUTS[name]
    rows = read_csv(f"table{name}")
    labels = list(layout.show or (*layout.keys, *layout.labels))
    columns = [column for column in rows[0] if column not in labels]
    table = Table(name, f"Table {name}. {layout.title}", [*labels, SETTINGS], columns, compare=layout.compare)
    counts = []
    for row, each in zip(rows, by_row(name, layout, rows, records), strict=True):
        for i, (said, group) in enumerate(alike(each, layout) or [("", [])]):
            paper = row if with_paper and i == 0 else {}
            cells = [cell(_ours(group, layout.across, column), paper.get(column)) for column in columns]
            table.rows.append(([*(row[label] for label in labels), said], cells))
            counts += [len({seeds(record) for record in group if record["width"] == w}) for w in widths_of(group)]
    protocol = ["Protocol: paper."] if layout.where.get("protocol") == "paper" and counts else []
    table.notes = " ".join([*protocol, *filter(None, [seeds_note(counts)])])
    if not any(row_labels[-1] for row_labels, _ in table.rows):
        table.labels.remove(SETTINGS)
        table.rows = [(row_labels[:-1], cells) for row_labels, cells in table.rows]
    return table


def widths_of(group: list[dict]) -> set[float]:
    return {record["width"] for record in group}


def by_row(name: str, layout: Layout, rows: list[dict[str, str]], records: list[dict]) -> list[list[Experiment]]:
    """The experiments that belong into each row, which know how their evaluations differ from one another."""
    known = [(record, facts(record)) for record in records]
    wanted = [criteria(name, layout, row) for row in rows]
    found = [experiments([record for record, says in known if fits(says, asked)]) for asked in wanted]
    compare_evaluations([experiment for each in found for experiment in each])
    return found


def alike(each: list[Experiment], layout: Layout) -> list[tuple[str, list[dict]]]:
    """The results of a row, by what they differ in beyond the row's own keys; each is a row of its own. Data sets that
    are columns are evaluations of one row if they are of one network, learned from as many labels."""
    found: dict[str, list[dict]] = {}
    of_networks = across_datasets(each) if layout.across == "dataset" else [{} for _ in each]
    methods = {experiment.family[3] for experiment in each}
    for experiment, network in zip(each, of_networks, strict=True):
        experiment.by_width()  # refuses what costs different things
        method = experiment.family[3] if len(methods) > 1 else ""  # which a table of losses has no column for
        said = ", ".join(filter(None, [method, worded(network), experiment.said(tuple(network))]))
        found.setdefault(said, []).extend(experiment.records)
    return list(found.items())


def across_datasets(each: list[Experiment]) -> list[dict[str, str]]:
    """By its path, what tells the network of each experiment and the labels that it learned from from those of the
    others, whatever they are evaluated on."""
    shared = (*OF_NETWORKS, "settings.labels")
    return differences([
        {path: value for path, value in decisive(e.records[0]).items() if path.startswith(shared)} for e in each
    ])  # fmt: skip


def criteria(name: str, layout: Layout, row: dict[str, str]) -> dict[str, str]:
    """The facts of results that belong into a row; an empty text means that the fact must be absent."""
    wanted = {**layout.where, **{key: row[key] for key in layout.keys}}
    if name == "1":
        wanted |= TABLE_1[row["type"], row["method"]]
    if name == "2":
        long = row["method"].endswith("-800ep")
        wanted |= {"method": row["method"].removesuffix("-800ep"), "long": "yes" if long else "no"}
    if name in WHOLE and wanted["method"] == "us3l":
        wanted |= US3L
    if "width" in wanted:
        wanted["width"] = f"{float(wanted['width']):g}"
    return wanted


def fits(found: dict[str, str], wanted: dict[str, str]) -> bool:
    """Whether a result has the wanted facts. Random weights have no pretraining that could be asked for."""
    if found["method"] == "random":
        wanted = {key: value for key, value in wanted.items() if key != "pretrained_on"}
    return all(found.get(key, "") == value for key, value in wanted.items())


def _ours(group: list[dict], across: str, column: str) -> Figure | None:
    if across == "metric":
        return figure(group, DETECTION[column])
    chosen = [record for record in group if record[across] == (float(column) if across == "width" else column)]
    return figure(chosen, headline(column if across == "dataset" else None, "linear")[0])


FIGURE_3 = ("random", "byol", "us3l")  # its lines: random initialisation beside the paper's two methods


def figure_3_records(records: list[dict], method: str) -> list[dict]:
    """The results of one of Figure 3's lines: Pascal VOC with a ResNet-50 of ImageNet, any width."""
    wanted = {"task": "detection", "dataset": "voc", **RESNET50, "method": method, **(US3L if method == "us3l" else {})}
    return [record for record in records if fits(facts(record), wanted)]


def subtracted(found: dict[str, list[Experiment]]) -> tuple[dict[float, str], str]:
    """By width, how far US3L is ahead of BYOL; or nothing, and why: one training of each, by equal settings, is
    compared, and no other."""
    both = [experiment for method in ("byol", "us3l") for experiment in found[method]]
    if not (found["byol"] and found["us3l"]):
        return {}, ""
    if len(both) > 2 or evaluation(both[0].records[0]) != evaluation(both[1].records[0]):
        return {}, "No difference is shown, as the results of byol and us3l are not of equal settings."
    byol, us3l = (
        {width: figure(group, "box/AP50") for width, group in experiment.by_width().items()} for experiment in both
    )
    shared = [width for width in byol.keys() & us3l.keys() if byol[width] and us3l[width]]
    return {width: f"{us3l[width].mean - byol[width].mean:+.1f}" for width in shared}, ""


def figure_3(records: list[dict], with_paper: bool) -> Table:
    """AP50 on Pascal VOC by width: random, BYOL and US3L, and how far US3L is ahead, which the paper's text states.

    A method of several experiments has a column for each. MACs: of the backbone at the evaluation's image size, from
    the results.
    """
    paper = {row["width"]: row["us3l_minus_byol_AP50"] for row in read_csv("figure3")}
    found = {method: experiments(figure_3_records(records, method)) for method in FIGURE_3}
    compare_evaluations([experiment for each in found.values() for experiment in each])
    lines = [(method, e.said(), e.by_width()) for method in FIGURE_3 for e in found[method] or [Experiment([])]]
    names = [f"{method} ({said})" if said else method for method, said, _ in lines]
    ahead, notes = subtracted(found)
    table = Table(
        "figure3", "Figure 3. Pascal VOC 07, Faster R-CNN R-50 FPN: AP50 (%).",
        ["width", "MACs (G)"], [*names, "us3l − byol"], compare_columns=tuple(range(len(lines))), notes=notes,
    )  # fmt: skip
    for width in ("1.0", "0.75", "0.5", "0.25"):
        groups = [by_width.get(float(width), []) for _, _, by_width in lines]
        printed = paper.get(width, "") if with_paper else None
        difference = Cell(ahead.get(float(width), MISSING), f"+{printed}" if printed else None)
        macs = sorted({record["macs"] for group in groups for record in group})
        label = [width, " / ".join(f"{count / 1e9:.2f}" for count in macs) or MISSING]
        table.rows.append((label, [*(cell(figure(group, "box/AP50")) for group in groups), difference]))
    return table


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of transfer/paper/<name>.csv; lines that start with # are comments."""
    with open(PAPER / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
