"""A grid as a graph: order, cycles, and hashes that name results."""

import dataclasses
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.common.errors import UserError
from pretrain.common.repository import ROOT
from slurm.grid.graph import Command, Graph, Node, expand


def node(name: str, parents: tuple = (), after: tuple = (), **settings) -> Node:
    return Node(name, "transfer", settings, Command("tools/transfer.py", "x"), parents=parents, after=after)


def test_parents_come_first():
    graph = Graph([node("c", ("b",)), node("a", x=1), node("b", ("a",), ("d",)), node("d", x=2)])
    assert list(graph.nodes) == ["a", "d", "b", "c"]
    assert graph.needs("b") == ["a", "d"]


@pytest.mark.parametrize("edge", ["parents", "after"])
def test_a_cycle_is_named(edge):
    nodes = [
        node("a"),
        node("b", ("a",)),
        dataclasses.replace(node("c", ("b",)), **{edge: ("e", "b")}),
        node("e", ("c",)),
    ]
    with pytest.raises(UserError, match=r"^the grid has a cycle: c needs e needs c$"):
        Graph(nodes)


def test_an_unknown_parent_is_named():
    with pytest.raises(UserError, match="'a' needs 'b', which the grid does not have"):
        Graph([node("a", ("b",))])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_any_graph_is_ordered_or_refused(edges):
    parents = {i: tuple(sorted({str(b) for a, b in edges if a == i})) for i in range(10)}
    reach = {i: {int(p) for p in parents[i]} for i in range(10)}
    for _ in range(10):
        reach = {i: found.union(*(reach[j] for j in found)) for i, found in reach.items()}
    nodes = [node(str(i), parents[i], number=i) for i in range(10)]
    if any(i in reach[i] for i in range(10)):
        with pytest.raises(UserError, match="cycle"):
            Graph(nodes)
    else:
        order = list(Graph(nodes).nodes)
        assert sorted(order) == [str(i) for i in range(10)]
        assert all(order.index(p) < order.index(str(i)) for i in range(10) for p in parents[i])


class TestHash:
    def test_the_name_has_no_say_and_settings_and_parents_do(self):
        graph = Graph([node("a", x=1), node("b", ("a",), y=1), node("c", ("a",), y=2)])
        other = Graph([node("A", x=1), node("B", ("A",), y=1), node("C", x=2), node("D", ("C",), y=1)])
        assert graph.hashes["a"] == other.hashes["A"] and graph.hashes["b"] == other.hashes["B"]
        assert len({graph.hashes["b"], graph.hashes["c"], other.hashes["D"]}) == 3

    def test_what_only_orders_has_no_say(self):
        hashes = Graph([node("a", x=1), node("b", y=1), node("c", after=("a",), y=1)]).hashes
        assert hashes["b"] == hashes["c"]

    def test_a_parents_name_in_a_setting_stands_for_its_result(self):
        one = Graph([node("a", x=1), node("b", ("a",), file="{a}/universal.safetensors")])
        two = Graph([node("z", x=1), node("b", ("z",), file="{z}/universal.safetensors")])
        assert one.hashes["b"] == two.hashes["b"]

    def test_one_result_under_two_names_is_one_node(self):
        graph = Graph([node("a", x=1), node("b", x=1), node("c", ("b",), y=1)])
        assert list(graph.nodes) == ["a", "c"] and graph.needs("c") == ["a"]


def test_a_result_is_found_by_its_hash_under_another_name(tmp_path):
    first, second = Graph([node("table4/us3l", x=1)]), Graph([node("table5/us3l", x=1)])
    folder = first.folder("table4/us3l", tmp_path)
    assert folder.name.startswith("table4_us3l-")
    folder.mkdir()
    assert second.folder("table5/us3l", tmp_path) == folder


def test_folders_stand_in_commands():
    options = {"--checkpoint": ("{t/a}/universal.safetensors",), "--output": ("{output}",)}
    command = Command("tools/transfer.py", "coco", ("views={'x': 1}",), options, ("--name", "a b"))
    folders = {"t/a": Path("/a"), "output": Path("/own")}
    assert command.resolved(folders).argv() == [
        sys.executable, f"{ROOT}/tools/transfer.py", "coco", "views={'x': 1}", "--name", "a b",
        "--checkpoint", "/a/universal.safetensors", "--output", "/own",
    ]  # fmt: skip


def test_words_with_an_equals_sign_are_options_that_are_said():
    command = Command("tools/transfer.py", "coco", words=("--device=cuda",))
    assert command.with_options({"--device": ("cpu",), "--resume": ()}).options == {"--resume": ()}


def test_jobs_are_named_by_their_ends_beginnings_and_patterns():
    names = ["table5/us3l", "table5/us3l/coco-w1", "table5/byol", "table5/byol/coco-w1"]
    assert expand(names, ["us3l"]) == ["table5/us3l"]
    assert expand(names, ["table5/byol"]) == names[2:]
    assert expand(names, ["*coco*"]) == [names[1], names[3]]
    with pytest.raises(UserError, match="no job is called 'bylo'"):
        expand(names, ["bylo"])
