"""How often a job may start again after a crash, and what ends it for good."""

import json
import os
import subprocess
import sys

import pytest

from slurm import attempts
from slurm.attempts import FAILED, begin, crashes, end, events, fail, note


@pytest.fixture
def requeues(tmp_path, monkeypatch):
    """The jobs that ``scontrol requeue`` was called for; nothing waits."""
    path = tmp_path / "bin" / "scontrol"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(attempts.time, "sleep", lambda seconds: None)
    return lambda: (tmp_path / "requeued").read_text().splitlines() if (tmp_path / "requeued").exists() else []


def test_a_killed_job_is_requeued_until_its_crashes_are_too_many(tmp_path, requeues):
    folder = tmp_path / "run"
    note(folder, "submitted")
    for _ in range(2):
        assert begin(folder, 2, "7") == 0
        assert end(folder, 2, "7", 137) == 137
    assert requeues() == ["requeue 7"] * 2
    assert begin(folder, 2, "7") == 0
    assert end(folder, 2, "7", 137) == 137
    assert len(requeues()) == 2
    assert "killed or crashed (status 137), 3 starts" in json.loads((folder / FAILED).read_text())["message"]


def test_lost_nodes_are_counted_although_nobody_could_say_so(tmp_path, requeues):
    for _ in range(3):
        assert begin(tmp_path, 2, "7") == 0
    assert begin(tmp_path, 2, "7") == 1
    assert "gave up after 3 starts" in json.loads((tmp_path / FAILED).read_text())["message"]


def test_planned_requeues_do_not_count(tmp_path, requeues):
    for _ in range(10):
        assert begin(tmp_path, 0, "7") == 0
        note(tmp_path, "requeued")
        assert end(tmp_path, 0, "7", 255) == 255
    assert crashes(tmp_path) == 0 and not (tmp_path / FAILED).exists() and requeues() == []


def test_a_failure_that_says_why_is_final(tmp_path, requeues):
    begin(tmp_path, 3, "7")
    fail(tmp_path, "no such data")
    fail(tmp_path, "the peers, afterwards")
    assert end(tmp_path, 3, "7", 1) == 1 and requeues() == []
    assert json.loads((tmp_path / FAILED).read_text())["message"] == "no such data"


def test_success_is_success(tmp_path, requeues):
    begin(tmp_path, 3, "7")
    assert end(tmp_path, 3, "7", 0) == 0 and requeues() == []


def test_a_new_submission_starts_counting_again(tmp_path, requeues):
    begin(tmp_path, 0, "7")
    assert crashes(tmp_path) == 1
    note(tmp_path, "submitted")
    assert begin(tmp_path, 0, "8") == 0


def test_a_task_of_an_array_finds_its_folder_without_the_project(tmp_path, repository):
    (tmp_path / "folders.txt").write_text(f"{tmp_path}/a\n{tmp_path}/b\n")
    script = [sys.executable, "-S", "-I", repository / "slurm/attempts.py", "begin", tmp_path / "folders.txt", "3"]
    subprocess.run(script, env={"SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "1"}, cwd="/", check=True)
    assert not (tmp_path / "a").exists() and [event["job"] for event in events(tmp_path / "b")] == ["9"]
