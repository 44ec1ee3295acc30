"""Launches into one folder, one after the other, and what a retry shares with them."""

from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from slurm import command
from slurm.folder import read_folder
from slurm.grid.graph import Command, Graph, Node
from slurm.launch import Launch, launch
from slurm.presets import load_preset
from slurm.submit import only_one


@pytest.fixture
def order(tmp_path, monkeypatch):
    """A launch of nodes, in which no job starts; the names of what its folder knows then."""
    monkeypatch.setattr("slurm.launch.run_here", lambda *arguments: [])

    def order(*nodes: Node) -> dict[str, Path]:
        graph = Graph(nodes)
        launch(Launch(graph, tmp_path / "grid", tmp_path / "nodes", load_preset("local"), "again", {}), False)
        return {entry.name: entry.path for entry in read_folder(tmp_path / "grid")[0]}

    return order


def node(name: str, parents: tuple = (), **settings) -> Node:
    return Node(name, "tables", settings, Command("tools/tables.py", "{output}"), parents=parents)


def test_jobs_of_earlier_launches_stay_known(order):
    assert [*order(node("a", x=1), node("b", ("a",)))] == ["a", "b"]
    assert [*order(node("c", x=2))] == ["c", "a", "b"]
    assert [*order(node("c", x=2))] == ["c", "a", "b"]


def test_a_changed_job_replaces_its_former_self_and_what_needed_it(order):
    before = order(node("a", x=1), node("b", ("a",)))
    after = order(node("a", x=2))
    assert [*after] == ["a"] and after["a"] != before["a"]


def test_a_retry_waits_for_launches_into_the_same_results(order, tmp_path):
    order(node("a", x=1))
    retry = ["retry", str(tmp_path / "grid")]
    with only_one(tmp_path / "nodes"), pytest.raises(UserError, match=f"is submitting to {tmp_path}/nodes right now"):
        command.main(retry)
    command.main(retry)
