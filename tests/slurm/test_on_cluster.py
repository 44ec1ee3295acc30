"""Jobs on a real SLURM: to the end, in order, and never twice."""

import json
import os
from pathlib import Path

import pytest
import torch

from pretrain.common.files import read_object
from pretrain.config import load_config
from pretrain.train import pretrain
from slurm.folder import read_folder
from tests.pretrain.processes import run_processes
from tests.requirements import requires
from tests.slurm.conftest import (
    CONFIG,
    ITERATIONS,
    TINY,
    digest,
    job_number,
    last_state,
    row,
    shell,
    until,
    wait_until_over,
)

pytestmark = requires("root", "slurm")
ON_MAIN = ("--gpus-per-node", 0, "--partition", "main")


def pretrain_in_process(rank: int, work_dir: str) -> str:
    return str(pretrain(load_config(CONFIG, TINY), Path(work_dir), resume=False, device="cpu"))


def test_four_nodes_compute_what_four_processes_compute(cluster, launch, tmp_path):
    folder, local = tmp_path / "slurm", tmp_path / "local"
    printed = launch("pretrain", CONFIG, "--nodes", 4, *ON_MAIN, "--work-dir", folder, *TINY)
    job = job_number(folder)
    assert f"job {job}, log: {folder}/jobs/" in printed and "again: " in printed and "1 job: 0 done" in printed
    assert "tools/launch.py" in read_object(folder / "job.json")["relaunch"]
    run_processes(pretrain_in_process, 4, str(local))
    assert wait_until_over(folder) == {"us3l_resnet18_digits": "done"}
    assert shell("sacct", "-n", "-X", "-P", "-j", job, "-o", "NNodes,State").split() == ["4|COMPLETED"]
    assert digest(folder / "universal.safetensors") == digest(local / "universal.safetensors")
    theirs, ours = last_state(local)["model"], last_state(folder)["model"]
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs)

    line = row(launch("status", folder), "us3l_resnet18_digits")
    assert line[:4] == ["us3l_resnet18_digits", "pretrain", "done", job] and f"{ITERATIONS}/{ITERATIONS}" in line
    assert "nothing to submit" in launch("pretrain", CONFIG, "--nodes", 4, *ON_MAIN, "--work-dir", folder, *TINY)
    assert job_number(folder) == job


GRID = """
pretrain = dict(tiny=dict(config="{config}", overrides={tiny}))
transfer = [dict(of="tiny", target="digits", widths=[1.0, 0.25], arguments=["--epochs", "2"])]
tables = [dict(table="widths", paper=False)]
"""


@pytest.fixture
def grid(tmp_path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(GRID.format(config=CONFIG, tiny=[*TINY, "training.chunks=1"]))
    return path


def test_a_grid_goes_to_its_table_and_is_not_computed_again(cluster, launch, grid, tmp_path):
    runs = tmp_path / "runs"
    printed = launch("grid", grid, "--runs", runs, *ON_MAIN)
    assert "4 jobs: 0 done, 0 in the queue, 4 to submit (4 missing)" in printed
    folder = runs / "grids/small"
    # submitted at once, in order; a second launch finds them in the queue
    assert "4 jobs: 0 done, 4 in the queue, 0 to submit" in launch("grid", grid, "--runs", runs, *ON_MAIN)
    entries = {entry.name: entry for entry in read_folder(folder)[0]}
    first, second = (job_number(entries[f"small/tiny/digits-{w}-s0-epochs_2"].path) for w in ("w1", "w0.25"))
    assert (first.split("_")[0], [first[-2:], second[-2:]]) == (second.split("_")[0], ["_0", "_1"]), "one array"
    assert set(wait_until_over(folder).values()) == {"done"}, launch("status", folder)

    table = entries["small/widths-markdown"].path / "table_widths.md"
    assert "| linear | digits | top-1 " in table.read_text() and "us3l" in table.read_text()
    result = next((entries["small/tiny/digits-w0.25-s0-epochs_2"].path).rglob("linear*/**/result.json"))
    metric = json.loads(result.read_text())["metrics"]["top1"]
    assert f"{metric:.1f}" in table.read_text()

    queue = shell("squeue", "-h", "-t", "all", "-o", "%i")
    assert "4 jobs: 4 done, 0 in the queue, 0 to submit" in launch("grid", grid, "--runs", runs, *ON_MAIN)
    assert shell("squeue", "-h", "-t", "all", "-o", "%i") == queue

    # what another grid has in common is taken from there, what is lost is computed again and nothing else
    other = grid.with_name("other.py")
    other.write_text(grid.read_text().replace("tiny=dict(", "another=dict(").replace('of="tiny"', 'of="another"'))
    assert "4 jobs: 4 done" in launch("grid", other, "--runs", runs, *ON_MAIN, "--dry-run")
    (entries["small/tiny/digits-w0.25-s0-epochs_2"].path / "done.json").unlink()
    assert "3 done, 0 in the queue, 1 to submit (1 failed)" in launch(
        "grid", grid, "--runs", runs, *ON_MAIN, "--dry-run"
    )
    changed = grid.read_text().replace("widths=[1.0, 0.25]", "widths=[1.0, 0.25], seeds=[0, 1]")
    grid.write_text(changed)
    assert "6 jobs: 2 done" in launch("grid", grid, "--runs", runs, *ON_MAIN, "--dry-run")


def test_a_failed_parent_cancels_its_children_and_says_why(cluster, launch, grid, tmp_path):
    # the digits lie in the package; this config asks for a folder that no node has
    grid.write_text(
        grid.read_text().replace("'training.chunks=1'", "'training.chunks=1', 'data.name=folder', 'data.root=/nowhere'")
    )
    launch("grid", grid, "--runs", tmp_path, *ON_MAIN)
    folder = tmp_path / "grids/small"
    found = wait_until_over(folder)
    assert found["small/tiny"] == "failed" and set(found.values()) == {"failed", "cancelled"}
    table = launch("status", folder)
    assert "/nowhere" in " ".join(row(table, "small/tiny")) and "4 jobs" not in table
    assert "what it needs has failed" in " ".join(row(table, "small/widths-markdown"))
    assert "/nowhere" in launch("logs", folder, "small/tiny")
    said = launch("retry", folder, "--dry-run")
    assert "would retry small/tiny (failed)" in said and said.count("would retry") == 4


def test_cancel_ends_jobs_for_good_and_retry_takes_them_up(cluster, launch, tmp_path):
    folder = tmp_path / "run"
    endless = [*TINY, "training.iterations=100000"]
    launch("pretrain", CONFIG, "--nodes", 1, *ON_MAIN, "--work-dir", folder, *endless)
    until(lambda: (folder / ".owner.json").exists(), "the run to begin")
    assert "cancelling us3l_resnet18_digits" in launch("cancel", folder)
    assert wait_until_over(folder) == {"us3l_resnet18_digits": "cancelled"}
    assert "cancelled" in row(launch("status", folder), "us3l_resnet18_digits")
    assert "0 active jobs" in launch("cancel", folder)
    first = job_number(folder)
    assert "retrying us3l_resnet18_digits (cancelled)" in launch("retry", folder)
    assert job_number(folder) != first and row(launch("status", folder), "us3l_resnet18_digits")[2] in (
        "pending",
        "running",
    )


def test_transfers_of_every_width_and_seed_are_one_array(cluster, launch, tmp_path, monkeypatch):
    from tests.pretrain.helpers import universal

    checkpoint = universal(base_channels=8).save(tmp_path / "universal.safetensors")
    options = ("--widths", 1.0, 0.5, "--seeds", 1, "--checkpoint", checkpoint, "--args", "--epochs", "2")
    launch("transfer", "digits", *ON_MAIN, *options)
    folder = tmp_path / "transfer/digits"
    assert set(wait_until_over(folder).values()) == {"done"}, launch("status", folder)
    jobs = {job_number(entry.path).split("_")[0] for entry in read_folder(folder)[0]}
    assert len(jobs) == 1 and len(list(folder.rglob("linear*/*/*/result.json"))) == 2
    assert os.path.exists(folder / "grid.json")
