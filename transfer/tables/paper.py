"""Tables 1 to 9 and Figure 3 of the paper: its rows and columns, our figures.

The CSV files of transfer/paper/ define each layout and hold the paper's figures. A row's cell collects the results
whose facts (transfer/tables/facts.py) equal the row's ``keys`` and the table's ``where``; other columns are labels.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from transfer.tables.facts import facts, figure, shown
from transfer.tables.table import MISSING, Cell, Table

PAPER = Path(__file__).resolve().parents[1] / "paper"
DETECTION = {
    "AP_bb": "box/AP", "AP50_bb": "box/AP50", "AP75_bb": "box/AP75",
    "AP_mk": "mask/AP", "AP50_mk": "mask/AP50", "AP75_mk": "mask/AP75",
}  # fmt: skip

CIFAR100 = {"task": "linear", "dataset": "cifar100", "pretrained_on": "cifar100"}
RESNET18 = {"backbone": "resnet18"}
RESNET50 = {"backbone": "resnet50", "pretrained_on": "imagenet"}
LOSSES = ("base_loss", "distill_loss", "aux_head", "momentum_base", "momentum_sub")
CASE_8 = dict(zip(LOSSES, ("mse", "infonce", "yes", "yes", "yes")))
CASE_13 = dict(zip(LOSSES, ("infonce", "mse", "yes", "yes", "yes")))
PLAIN = {"sandwich": "yes", "dynamic_sampling": "no", "group_reg": "no"}
US3L = {"sandwich": "yes", "dynamic_sampling": "yes", "group_reg": "yes"}
WHOLE = ("2", "4", "5", "6")  # tables whose us3l is the whole method, not one of its ablations
# Table 1 names a method by two columns: (type, method) -> the facts of its results
TABLE_1 = {
    ("supervised", "individual"): {"method": "supervised"},
    ("supervised", "s-net"): {"method": "supervised-s-net"},
    ("supervised", "s-net+distill"): {"method": "supervised-s-net+distill"},
    ("simsiam", "individual"): {"method": "simsiam"},
    ("simsiam", "s-net"): {"method": "simsiam-s-net"},
    ("simsiam", "s-net+distill"): {"method": "simsiam-s-net+distill"},
    ("simsiam", "us3l"): {**CASE_8, **PLAIN},
}


@dataclass(frozen=True)
class Layout:
    """across: what the columns of figures are, ``width``, ``dataset`` or ``metric``."""

    title: str
    keys: tuple[str, ...]
    where: dict[str, str]
    labels: tuple[str, ...] = ()
    across: str = "width"
    show: tuple[str, ...] = ()  # order of the label columns, keys and labels by default


LAYOUTS = {
    "1": Layout("CIFAR-100, ResNet-18: top-1 accuracy (%).", (), {**CIFAR100, **RESNET18}, ("type", "method")),
    "2": Layout(
        "CIFAR-100: linear top-1 accuracy (%).",
        ("backbone", "method", "teacher"), CIFAR100, ("once", "cost"),
    ),
    "3": Layout(
        "CIFAR-10, vision transformers: linear top-1 accuracy (%).",
        ("backbone", "method"), {"task": "linear", "dataset": "cifar10", "pretrained_on": "cifar10"}, ("once",),
    ),
    "4": Layout(
        "ImageNet: linear top-1 accuracy (%).",
        ("backbone", "method"), {"task": "linear", "dataset": "imagenet", "pretrained_on": "imagenet"}, ("once",),
    ),
    "5": Layout(
        "COCO 2017, Mask R-CNN R-50 FPN: average precision (%).",
        ("width", "method"), {"task": "detection", "dataset": "coco", **RESNET50}, across="metric",
    ),
    "6": Layout(
        "ResNet-50 of ImageNet on five data sets: linear top-1 accuracy (%).",
        ("width", "method"), {"task": "linear", **RESNET50}, ("params_M", "macs_G"), "dataset",
        ("width", "params_M", "macs_G", "method"),
    ),
    "7": Layout(
        "Loss design, CIFAR-100, ResNet-18: linear top-1 accuracy (%).",
        LOSSES, {**CIFAR100, **RESNET18, **PLAIN}, ("case",), show=("base_loss", "case", *LOSSES[1:]),
    ),
    "8": Layout(
        "Dynamic sampling and group regularisation, CIFAR-100: linear top-1 accuracy (%).",
        ("backbone", "dynamic_sampling", "group_reg"), {**CIFAR100, **CASE_13, "sandwich": "yes"},
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
    table = Table(name, f"Table {name}. {layout.title}", labels, columns)
    known = [(record, facts(record)) for record in records]
    for row in rows:
        wanted = criteria(name, layout, row)
        fitting = [(record, found) for record, found in known if fits(found, wanted)]
        cells = [
            Cell(_ours(fitting, layout.across, column), row[column] if with_paper else None) for column in columns
        ]  # fmt: skip
        table.rows.append(([row[label] for label in labels], cells))
    return table


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


def _ours(fitting: list[tuple[dict, dict[str, str]]], across: str, column: str) -> str:
    metric = DETECTION[column] if across == "metric" else "top1"
    wanted = f"{float(column):g}" if across == "width" else column
    chosen = [record for record, found in fitting if across == "metric" or found[across] == wanted]
    return shown(figure(chosen, metric))


def figure_3(records: list[dict], with_paper: bool) -> Table:
    """AP50 on Pascal VOC by width: random, BYOL and US3L, and how far US3L is ahead, which the paper's text states."""
    paper = {row["width"]: row["us3l_minus_byol_AP50"] for row in read_csv("figure3")}
    table = Table(
        "figure3", "Figure 3. Pascal VOC 07, Faster R-CNN R-50 FPN: AP50 (%).",
        ["width"], ["random", "byol", "us3l", "us3l − byol"],
    )  # fmt: skip
    known = [(record, facts(record)) for record in records]
    for width in ("1.0", "0.75", "0.5", "0.25"):
        where = {"task": "detection", "dataset": "voc", "width": f"{float(width):g}", **RESNET50}
        found = {}
        for method in table.columns[:3]:
            wanted = {**where, "method": method, **(US3L if method == "us3l" else {})}
            found[method] = figure([r for r, f in known if fits(f, wanted)], "box/AP50")
        byol, us3l = found["byol"], found["us3l"]
        ahead = MISSING if byol is None or us3l is None else f"{us3l.mean - byol.mean:+.1f}"
        printed = paper.get(width, "") if with_paper else None
        cells = [Cell(shown(value)) for value in found.values()]
        table.rows.append(([width], [*cells, Cell(ahead, f"+{printed}" if printed else None)]))
    return table


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of transfer/paper/<name>.csv; lines that start with # are comments."""
    with open(PAPER / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
