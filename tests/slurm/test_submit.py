"""What is submitted, in which arrays, with which options of sbatch."""

import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.run.allocator import FOR_CPU
from pretrain.run.ownership import owned
from slurm.cluster import State
from slurm.folder import Entry, Launched, Standing, place, read_folder, standing, write_grid
from slurm.grid.graph import Command, Graph, Node
from slurm.jobs import NodeJob, collect, final
from slurm.presets import Preset, load_preset
from slurm.submit import groups, on_machine, only_one, script_text, to_submit
from tests.requirements import requires
from tests.slurm.helpers import entry


def test_what_is_done_or_lives_stays_and_the_rest_is_submitted():
    entries = [entry(name) for name in ("done", "running", "failed", "dead", "missing", "timeout")]
    found = {e.name: Standing(e.name, active=e.name == "running") for e in entries}
    assert [e.name for e in to_submit(entries, found)] == ["failed", "dead", "missing", "timeout"]
    assert [e.name for e in to_submit(entries, found, {"dead", "done"})] == ["dead"]


def test_jobs_that_are_alike_and_wait_for_the_same_share_an_array():
    entries = [
        entry("p", kind="pretrain"), entry("q", kind="pretrain"), entry("a", ("p",)), entry("b", ("p",)),
        entry("c", ("q",)), entry("d", ("p",), gpus=8), entry("t", ("a", "b", "c"), kind="tables"),
    ]  # fmt: skip
    names = {e.name for e in entries}
    assert [[e.name for e in group] for group in groups(entries, names)] == [
        ["p", "q"],
        ["a", "b"],
        ["c"],
        ["d"],
        ["t"],
    ]
    assert [[e.name for e in group] for group in groups(entries[2:5], set())] == [["a", "b", "c"]]


@requires("submitit")
class TestScript:
    def options(self, preset: Preset, group: list[Entry], dependencies=()) -> dict[str, str]:
        text = script_text(group, preset, Path("/runs/jobs/us3l-1"), list(dependencies))
        lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def test_every_key_of_the_preset_arrives(self):
        preset = load_preset("example", {
            "account": "me", "qos": "fast", "constraint": "a100", "exclude": "node7", "comment": "hello", "time": 600,
            "dependency": "afterok:1",
        })  # fmt: skip
        found = self.options(
            dataclasses.replace(preset, sbatch={"mail-type": "FAIL"}), [entry("a", nodes=4, gpus=8, tasks=8)]
        )
        expected = {
            "partition": "gpu", "account": "me", "qos": "fast", "constraint": "a100", "exclude": "node7",
            "comment": "hello", "time": "600", "nodes": "4", "ntasks-per-node": "8", "gpus-per-node": "8",
            "cpus-per-task": "12",
            "mem": "245760M", "signal": "USR2@120", "dependency": "afterok:1", "mail-type": "FAIL", "requeue": "",
        }  # fmt: skip
        assert {key: found.get(key) for key in expected} == expected

    def test_a_detector_is_one_task_with_the_cores_of_all_its_processes(self):
        preset = Preset(cpus_per_task=12)
        assert self.options(preset, [entry("a", gpus=8)])["cpus-per-task"] == "96"
        assert self.options(preset, [entry("a", kind="pretrain", gpus=8, tasks=8)])["cpus-per-task"] == "12"
        assert self.options(preset, [entry("a")])["cpus-per-task"] == "12"

    def test_sites_that_know_gres_alone(self):
        found = self.options(Preset(gres="gpu:a100"), [entry("a", gpus=8)])
        assert found["gres"] == "gpu:a100:8" and "gpus-per-node" not in found
        assert "gres" not in self.options(Preset(gres="gpu:a100"), [entry("a")])

    def test_children_wait_and_are_cancelled_with_their_parents(self):
        found = self.options(Preset(), [entry("a"), entry("b"), entry("c")], ["7", "9_1"])
        assert (found["dependency"], found["kill-on-invalid-dep"]) == ("afterok:7:9_1", "yes")
        assert found["array"] == "0-2%3"
        assert self.options(Preset(array_parallelism=2), [entry("a"), entry("b"), entry("c")])["array"] == "0-2%2"
        assert "dependency" not in self.options(Preset(), [entry("a")])

    def test_one_dead_task_ends_all_and_srun_is_told_the_cores(self):
        text = script_text([entry("a")], Preset(cpus_per_task=3, setup=("module load x",)), Path("/runs/jobs/y"), [])
        srun = next(line for line in text.splitlines() if line.startswith("srun"))
        assert "--kill-on-bad-exit=1 --cpus-per-task=3" in srun
        lines = [line for line in text.splitlines() if line]
        assert lines.index("module load x") < lines.index("export OMP_NUM_THREADS=3") < lines.index(srun)
        assert lines[lines.index(srun) + 1 :][1] == "status=$?"

    def test_a_job_without_gpus_starts_with_memory_that_is_kept(self, monkeypatch):
        for name in FOR_CPU:
            monkeypatch.delenv(name, raising=False)

        def exports(gpus: int, **environment: str) -> set[str]:
            text = script_text([entry("a", gpus=gpus)], Preset(environment=environment), Path("/runs/jobs/y"), [])
            return {line.removeprefix("export ") for line in text.splitlines() if line.startswith("export ")}

        wanted = {f"{name}={shlex.quote(value)}" for name, value in FOR_CPU.items()}
        assert wanted <= exports(0)
        assert not wanted & exports(8)
        assert "GLIBC_TUNABLES=mine" in exports(0, GLIBC_TUNABLES="mine"), "a preset's own, after it"


def test_the_machine_adds_where_data_lies_and_the_devices():
    preset = Preset(data={"coco": "/d/coco", "digits": "/d"})

    def arguments(**changes) -> list[str]:
        return on_machine(entry("a", **changes).node, preset).argv()[2:]

    assert arguments(gpus=8) == ["coco", "--data", "/d/coco", "--num-gpus", "8", "--resume"]
    assert arguments(data="cifar10", framework="") == ["coco", "--device", "cpu"]
    given = Command("tools/transfer.py", "coco", words=("--data", "/mine", "--device", "cuda"))
    assert arguments(framework="", command=given) == ["coco", "--data", "/mine", "--device", "cuda"]
    digits = Command("tools/pretrain.py", "c.py", ("a=1",), {"--work-dir": ("/x",), "--resume": ()})
    assert arguments(kind="pretrain", command=digits, data="digits") == [
        "c.py", "a=1", "data.root=/d", "--work-dir", "/x", "--resume",
    ]  # fmt: skip


def test_only_one_launch_submits_at_a_time(tmp_path):
    with only_one(tmp_path), pytest.raises(UserError, match="another launch is submitting"), only_one(tmp_path):
        pass


class TestStanding:
    @pytest.fixture
    def one(self, tmp_path) -> Entry:
        return entry("a", path=tmp_path)

    def job(self, one: Entry, **changes) -> dict:
        return {"job": "7", "title": "x", "executor": "slurm", "time": 100.0, "hash": one.hash, **changes}

    def test_slurm_is_asked_first(self, one, tmp_path):
        (tmp_path / "done.json").write_text(json.dumps({"hash": one.hash}))
        found = standing(one, self.job(one), State("RUNNING", "node1"))
        assert (found.name, found.nodes, found.active) == ("running", "node1", True)
        assert standing(one, self.job(one), State("COMPLETED", "node1")).name == "done"
        assert standing(one, self.job(one), None).name == "done"

    def test_a_result_of_other_settings_is_none(self, one, tmp_path):
        (tmp_path / "done.json").write_text(json.dumps({"hash": "b"}))
        assert standing(one, {}, None).name == "missing"

    @pytest.mark.parametrize(
        ("state", "name", "reason"),
        [
            (State("COMPLETED"), "failed", "it ended without a result"), (State("CANCELLED"), "cancelled", ""),
            (State("CANCELLED", "", "DependencyNeverSatisfied"), "cancelled", "what it needs has failed"),
            (State("TIMEOUT"), "timeout", ""), (State("NODE_FAIL", "node3"), "node_fail", ""),
        ],
    )  # fmt: skip
    def test_an_end_without_a_result_says_how(self, one, state, name, reason):
        found = standing(one, self.job(one), state)
        assert (found.name, found.reason, found.active) == (name, reason, False)

    def test_a_reason_on_disk_is_told(self, one, tmp_path):
        (tmp_path / "failed.json").write_text('{"message": "no such data"}')
        found = standing(one, self.job(one), State("FAILED", "node1", "NonZeroExitCode"))
        assert (found.name, found.reason) == ("failed", "no such data")

    def test_a_job_that_died_without_a_word_is_dead_and_not_running(self, one, tmp_path):
        (tmp_path / "attempts.jsonl").write_text('{"event": "started", "time": 101, "host": "node1"}\n')
        found = standing(one, self.job(one), None)
        assert (found.name, found.nodes, found.active) == ("dead", "node1", False)

    def test_without_slurm_a_beating_owner_runs(self, one, tmp_path):
        with owned(tmp_path):
            assert standing(one, self.job(one), None).name == "running"
        assert standing(one, self.job(one), None).name == "lost"


def test_a_grid_folder_is_read_as_it_was_written(tmp_path):
    graph = Graph(
        [Node("a", "pretrain", {"x": 1}, Command("tools/pretrain.py", "c.py", options={"--work-dir": ("{output}",)}))]
    )
    entries = place(graph, tmp_path / "nodes")
    launched = Launched(load_preset("local"), "again")
    write_grid(tmp_path / "grid", entries, launched)
    assert read_folder(tmp_path / "grid") == (entries, launched)
    with pytest.raises(UserError, match=r"holds no grid\.json"):
        read_folder(tmp_path)


def test_results_are_collected_with_their_times(tmp_path):
    for number, name in enumerate(("b", "a")):
        path = tmp_path / name / "digits/linear/width_1/result.json"
        path.parent.mkdir(parents=True)
        path.write_text(name)
        os.utime(path, (number, number))
    (tmp_path / "results" / "stale").mkdir(parents=True)
    collect((tmp_path / "a", tmp_path / "b"), tmp_path / "results")
    found = {path.read_text(): path.stat().st_mtime for path in (tmp_path / "results").rglob("result.json")}
    assert found == {"b": 0, "a": 1} and not (tmp_path / "results/stale").exists()


@requires("submitit")
class TestJob:
    """The callable, in submitit's place, in this process."""

    @pytest.fixture(autouse=True)
    def in_a_job(self, monkeypatch):
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
        monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "7")

    def job(self, tmp_path, runs: str) -> NodeJob:
        return NodeJob(Command("tools/tables.py", runs), tmp_path / "node", "hash")

    def test_a_tool_that_fails_says_why_and_its_failure_is_final(self, tmp_path, repository):
        with pytest.raises(RuntimeError, match="tools/tables.py ended with code 2: /nowhere is no folder"):
            self.job(tmp_path, "/nowhere")()
        said = json.loads((tmp_path / "node/failed.json").read_text())
        assert "/nowhere is no folder" in said["message"] and not (tmp_path / "node/done.json").exists()

    def test_a_tool_that_succeeds_leaves_its_hash(self, tmp_path):
        self.job(tmp_path, "--help")()
        assert json.loads((tmp_path / "node/done.json").read_text())["hash"] == "hash"

    @pytest.mark.parametrize("tasks", [1, 4])
    def test_out_of_memory_is_final_and_a_lost_peer_is_not(self, monkeypatch, tasks):
        monkeypatch.setattr("slurm.jobs.task", lambda: (0, tasks))
        assert final(torch.OutOfMemoryError("no")) and final(NonFiniteLossError("inf")) and final(KeyError("x"))
        assert final(RuntimeError("connection closed by peer")) == (tasks == 1)

    def test_a_tool_that_is_told_to_stop_may_go_on_and_leaves_no_failure(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Command, "argv", lambda self: [sys.executable, "-c", "import sys; sys.exit(143)"])
        with pytest.raises(SystemExit) as ended:
            self.job(tmp_path, "runs")()
        assert ended.value.code == 143 and not (tmp_path / "node/failed.json").exists()

    def test_a_checkpoint_is_the_same_job_once_more(self, tmp_path):
        job = self.job(tmp_path, "runs")
        assert job.checkpoint().function == job
        assert '"requeued"' in (tmp_path / "node/attempts.jsonl").read_text()
