"""The table of ``status``: progress, time left, the last metric, and why a job failed."""

import json

import pytest
from rich.console import Console

from slurm.folder import Standing
from slurm.plan import show_plan
from slurm.presets import Preset
from slurm.status import clock, counts, log_files, progress, status_table, stderr_lines, time_left, why_failed
from tests.slurm.helpers import entry

RUNNING = Standing("running", "7", "node1", active=True)

JOB = {"job": "1", "title": "us3l", "executor": "local", "submission": "", "time": 0.0}


@pytest.fixture
def one(tmp_path):
    return entry("a", kind="pretrain", path=tmp_path)


def write_lines(path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_pretrainings_progress_is_its_last_line_of_the_iterations_it_will_make(one, tmp_path):
    (tmp_path / "config.json").write_text('{"training": {"iterations": 100}}')
    lines = [{"iteration": i, "loss": 2 - i / 100, "seconds": i / 2} for i in (10, 20, 30)]
    write_lines(tmp_path / "metrics.jsonl", lines)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 4')  # being written
    assert progress(one, RUNNING) == ("30/100", "0:00:35", "loss 1.7")
    assert progress(one, Standing("dead")) == ("30/100", "", "loss 1.7")


def test_nothing_is_known_before_the_first_line(one):
    assert progress(one, RUNNING) == ("", "", "")


@pytest.mark.parametrize("task", ["detection", "detection_mmdet"])
def test_a_detectors_progress_is_the_same_for_all_frameworks(task, tmp_path):
    one = entry("a", path=tmp_path)
    folder = tmp_path / f"coco/{task}/width_0.5/seed_0-12345678"
    lines = [{"iteration": i, "iterations": 40, "loss": 1.5, "seconds": i / 2} for i in (10, 20)]
    write_lines(folder / "metrics.jsonl", lines)
    assert progress(one, RUNNING) == ("20/40", "0:00:10", "loss 1.5")
    (folder / "result.json").write_text('{"metrics": {"box/AP": 38.25}}')
    assert progress(one, Standing("done")) == ("", "", "box/AP 38.25")


def test_without_two_lines_there_is_no_time_left():
    assert time_left([{"iteration": 10, "seconds": 5}], 100) is None
    assert clock(3723.9) == "1:02:03" and clock(-1) == "0:00:00"


def test_a_failure_is_told_by_itself_or_by_the_last_lines_of_stderr(one, tmp_path):
    stderr = tmp_path / "7_0_log.err"
    stderr.write_text("submitit INFO: starting\nTraceback\nMemoryError: 4 GB\n\n")
    job = {**JOB, "job": "7", "hash": one.hash, "submission": str(tmp_path), "stderr": str(stderr)}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert stderr_lines(one) == ["Traceback", "MemoryError: 4 GB"] and log_files(one) == [stderr]
    assert (
        why_failed(one, Standing("out_of_memory", "7", "", "OutOfMemory"))
        == "OutOfMemory; Traceback | MemoryError: 4 GB"
    )
    (tmp_path / "failed.json").write_text('{"message": "a task was killed or crashed (status 137)"}')
    assert why_failed(one, Standing("failed", "7")).endswith("(status 137); Traceback | MemoryError: 4 GB")
    (tmp_path / "failed.json").write_text('{"message": "expected data.root=FOLDER"}')
    assert why_failed(one, Standing("failed", "7")) == "expected data.root=FOLDER"


def test_a_wait_says_for_what(one):
    assert why_failed(one, Standing("pending", "7", "", "Dependency", active=True)) == "Dependency"


def test_the_table_has_a_line_for_each_job_and_prints_brackets_as_they_are(one, tmp_path):
    (tmp_path / "failed.json").write_text('{"message": "widths [0.5] are not calibrated"}')
    (tmp_path / "job.json").write_text(json.dumps({**JOB, "hash": one.hash}))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_table([one, entry("b", path=tmp_path / "b")]))
    lines = captured.get().splitlines()
    assert "failed" in lines[1] and "widths [0.5] are not calibrated" in lines[1] and "missing" in lines[2]


def test_names_are_printed_as_they_are(tmp_path, capsys):
    entries = [entry("[bold]run[x]/a", path=tmp_path / "a"), entry("b", ("[bold]run[x]/a",), path=tmp_path / "b")]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_table(entries))
    assert "[bold]run[x]/a" in captured.get()
    show_plan(entries, entries, dict.fromkeys(("[bold]run[x]/a", "b"), Standing("missing")), Preset())
    assert capsys.readouterr().out.count("[bold]run[x]/a") == 2, "and what waits for it"


def test_the_counts_of_all_states():
    assert counts({"a": RUNNING, "b": Standing("done"), "c": Standing("done")}) == "1 running, 2 done"
