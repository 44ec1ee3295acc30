"""What SLURM says, and what is refused because of it before anything is submitted."""

import os
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from slurm.cluster import State, check_cluster, check_shared, file_system, parse_states, states

MOUNTS = "overlay / overlay rw 0 0\nstorage:/home /home nfs4 rw 0 0\n/dev/sda /home/me/my\\040disk ext4 rw 0 0\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs of SLURM that print what they are told, and fail without."""

    def install(**answers: str) -> None:
        for name, answer in answers.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return install


class TestStates:
    def test_a_line_of_another_cluster_with_the_same_number_does_not_count(self):
        lines = "3|RUNNING|node1|None|us3l-a\n4|FAILED|node2|NonZeroExitCode|us3l-old\n"
        assert parse_states(lines, {"3": "us3l-a", "4": "us3l-b"}) == {"3": State("RUNNING", "node1", "")}

    def test_the_last_line_of_a_requeued_job_counts(self):
        lines = "3|NODE_FAIL|node1|None|a\n3|COMPLETED|node2|None|a\n"
        assert parse_states(lines, {"3": "a"})["3"] == State("COMPLETED", "node2", "")

    def test_who_cancelled_it_is_cut_off(self):
        assert parse_states("3_1|CANCELLED by 0|None assigned|Dependency|a", {"3_1": "a"})["3_1"] == State(
            "CANCELLED", "", "Dependency"
        )

    def test_squeue_is_believed_before_sacct(self, slurm):
        slurm(squeue="3|PENDING||BeginTime|a", sacct="3|NODE_FAIL|node1|None|a\n4|COMPLETED|node1|None|b")
        found = states({"3": "a", "4": "b", "5": "c"})
        assert {job: state.name for job, state in found.items()} == {"3": "PENDING", "4": "COMPLETED"}
        assert found["3"].is_active and not found["4"].is_active

    def test_without_accounting_and_without_slurm_nothing_is_known(self, slurm):
        assert states({"3": "a"}) == {}


class TestChecks:
    def test_no_sbatch(self, slurm, tmp_path):
        with pytest.raises(UserError, match="^no sbatch on PATH.*--cluster local"):
            check_cluster("main", tmp_path, 1, ())

    def test_an_unknown_partition_names_the_nearest(self, slurm, tmp_path):
        slurm(sbatch="", sinfo="main\nhigh")
        with pytest.raises(UserError, match="no partition 'mian' on this cluster; did you mean 'main'?"):
            check_cluster("mian", tmp_path, 1, ())

    def test_a_folder_that_other_machines_do_not_see(self):
        with pytest.raises(UserError, match=r"/runs lies on overlay \(/\) of this machine, which node7 does not see"):
            check_shared(Path("/runs"), ["node7 10.0.0.7"], MOUNTS, ())

    @pytest.mark.parametrize(
        ("folder", "nodes", "shared"),
        [
            ("/home/me/runs", ["node7 10.0.0.7"], ()),  # on NFS
            ("/runs", ["node7 10.0.0.7"], ("/runs",)),  # exported by this machine
            ("/runs", ["node1 127.0.0.1", f"here {os.uname().nodename}"], ()),  # all nodes are this machine
            ("/runs", [], ()),
        ],
    )
    def test_a_folder_that_all_nodes_see(self, folder, nodes, shared):
        assert check_shared(Path(folder), nodes, MOUNTS, shared) is None

    def test_the_file_system_is_that_of_the_innermost_mount(self):
        path = Path
        assert file_system(path("/home/me/x"), MOUNTS) == ("/home", "nfs4")
        assert file_system(path("/home/me/my disk/x"), MOUNTS) == ("/home/me/my disk", "ext4")
        assert file_system(path("/homer"), MOUNTS) == ("/", "overlay")
