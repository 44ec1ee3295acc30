"""The grids of the paper: every row of every table is computed by a job, and nothing twice."""

import csv

import pytest

from pretrain.common.repository import ROOT
from slurm.grid.definition import load_graph
from slurm.grid.graph import Graph
from transfer.tables import NAMES

GRIDS = sorted((ROOT / "configs/grids").glob("*.py"))
TABLES = [path for path in GRIDS if path.stem.startswith(("table", "figure"))]


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {path.stem: load_graph(path, gpus=8) for path in TABLES}


def columns(name: str) -> list[str]:
    with open(ROOT / f"transfer/paper/{name}.csv", newline="") as file:
        return next(csv.reader(line for line in file if not line.startswith("#")))


def test_every_table_has_a_grid_that_ends_in_it(graphs):
    assert {name.removeprefix("table") for name in graphs} == {*NAMES} - {"widths"}
    for name, graph in graphs.items():
        assert list(graph.nodes)[-1] == f"{name}/{name}-markdown"


@pytest.mark.parametrize("name", [f"table{number}" for number in (1, 2, 3, 4, 7, 8, 9)])
def test_every_width_of_a_table_is_evaluated(graphs, name):
    widths = {column for column in columns(name) if column.replace(".", "").isdigit()}
    evaluated = {node.settings["arguments"][2] for node in graphs[name].nodes.values() if node.kind == "transfer"}
    assert {f"{float(width):g}" for width in widths} == evaluated


def test_detection_tables_compare_every_width_of_byol_and_us3l(graphs):
    for name, target, others in (("table5", "coco", 0), ("figure3", "voc", 4)):
        transfers = [node for node in graphs[name].nodes.values() if node.kind == "transfer"]
        assert len(transfers) == 8 + others and {node.settings["arguments"][0] for node in transfers} == {target}


def test_tables_share_their_pretrainings(graphs):
    def pretrained(name: str) -> set[str]:
        return {graphs[name].hashes[n] for n, node in graphs[name].nodes.items() if node.kind == "pretrain"}

    assert pretrained("table5") == pretrained("table6") == pretrained("figure3") < pretrained("table4")
    assert pretrained("table7") & pretrained("table8") & pretrained("table9"), "case 13 is a row of each"


def test_the_paper_is_all_of_them(graphs):
    paper = load_graph(ROOT / "configs/grids/paper.py", gpus=8)
    assert {*paper.hashes.values()} == {value for graph in graphs.values() for value in graph.hashes.values()}
    assert len(paper.nodes) == len({*paper.hashes.values()}) < sum(len(graph.nodes) for graph in graphs.values())


def test_the_digits_grid_is_small():
    graph = load_graph(ROOT / "configs/grids/digits.py", gpus=0)
    assert len(graph.nodes) == 4 and sum(node.flops for node in graph.nodes.values()) < 1e14
