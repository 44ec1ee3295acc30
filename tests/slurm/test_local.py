"""``--cluster local``: what waits for jobs of another launcher."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurm import local
from slurm.folder import Entry, Standing
from slurm.presets import load_preset
from tests.slurm.helpers import entry

ACTIVE, MISSING = Standing("running", "7", active=True), Standing("missing")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run_here`` of jobs that succeed at once."""

    def start(one: Entry, *rest) -> SimpleNamespace:
        (one.path / "done.json").write_text(json.dumps({"hash": one.hash}))
        return SimpleNamespace(done=lambda force_check: True, paths=SimpleNamespace(stdout="log"), cancel=lambda: None)

    monkeypatch.setattr(local, "start", start)
    monkeypatch.setattr(local, "ASK", 0)

    def run(parent: Path) -> list[str]:
        entries = [entry("parent", path=parent), entry("child", ("parent",), path=tmp_path / "child")]
        found = {"parent": ACTIVE, "child": MISSING}
        return local.run_here(entries, entries[1:], found, load_preset("local"), tmp_path, "again")

    return run


def test_a_job_of_another_launcher_that_ended_well_meanwhile_is_waited_for_no_longer(run, tmp_path):
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent/done.json").write_text(json.dumps({"hash": entry("parent").hash}))
    assert run(tmp_path / "parent") == []


def test_what_needs_one_that_ended_without_a_result_is_left_out(run, tmp_path, capsys):
    assert run(tmp_path / "parent") == ["child"]
    assert "child: left out, as what it needs has failed" in capsys.readouterr().out
