"""Processes that SLURM or torchrun have started."""

import pytest

from pretrain.common.errors import UserError
from pretrain.run.membership import Member, first_host, is_main_process, membership

TASK = {
    "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "12345",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_NODELIST": "gpu[03,07]",
}  # fmt: skip


def test_a_process_on_its_own_belongs_to_no_group():
    assert membership({}) is None and membership({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}) is None


def test_a_batch_script_is_no_task():
    assert membership({name: value for name, value in TASK.items() if name != "SLURM_STEP_ID"}) is None


def test_srun_says_rank_and_size_and_the_first_node_listens():
    member = membership(TASK)
    assert (member.rank, member.size, member.local_rank, member.local_size) == (3, 4, 1, 2)
    host, port = member.address.split(":")
    assert host == "gpu03" and 20_000 <= int(port) < 30_000
    assert membership({**TASK, "SLURM_PROCID": "0"}).address == member.address
    assert membership({**TASK, "SLURM_STEP_ID": "1"}).address != member.address
    assert membership({**TASK, "MASTER_ADDR": "a", "MASTER_PORT": "7"}).address == "a:7"


def test_torchrun_says_the_same():
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}
    assert membership(variables) == Member(1, 2, 1, 2, "host:29500")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"),
        ("gpu[03-05,07]", "gpu03"),
        ("a[1,3]-ib,b2", "a1-ib"),
        ("x1,x2", "x1"),
        ("n[9-11]", "n9"),
        ("rack[1-2]node[3-4]", "rack1node3"),
        ("r[1,2]n[03-4]-ib,q", "r1n03-ib"),
        ("a,b[1-2]", "a"),
    ],
)
def test_the_first_of_slurms_nodes(nodes, host):
    assert first_host(nodes) == host


def test_what_cannot_work_is_one_line():
    with pytest.raises(UserError, match="unevenly over the nodes"):
        membership({**TASK, "SLURM_STEP_TASKS_PER_NODE": "3,1"})
    with pytest.raises(UserError, match="incomplete: 'SLURM_PROCID'"):
        membership({name: value for name, value in TASK.items() if name != "SLURM_PROCID"})


def test_the_first_process_writes_and_prints(monkeypatch):
    assert is_main_process()
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    assert not is_main_process()
