"""One live job owns a run folder; the dead lose it, the requeued take it up again."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.run import liveness
from pretrain.run.liveness import STALE, identity, is_identity
from pretrain.run.ownership import FILE_NAME, check_owner, owned, owner_lives, owning, read_owner, take
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config


@pytest.fixture(autouse=True)
def outside_of_any_job(monkeypatch):
    names = ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "PROCID", "RESTART_COUNT")
    for name in ("RANK", *(f"SLURM_{name}" for name in names)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def process():
    """Another process of this machine, alive until it is told to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        yield other
        other.kill()


def write_owner(folder, age: float = 0.0, **changes) -> dict:
    """An owner.json of somebody else whose last beat was ``age`` seconds ago."""
    owner = {**identity(), "host": "elsewhere", "pid": 1, "token": "theirs", **changes}
    path = folder / FILE_NAME
    path.write_text(json.dumps(owner))
    os.utime(path, (time.time() - age,) * 2)
    return owner


def fake_squeue(folder, monkeypatch, script: str) -> None:
    """A squeue that does what ``script`` says."""
    path = folder / "bin" / "squeue"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)


def test_a_folder_is_owned_while_the_work_lasts(tmp_path):
    with owned(tmp_path / "run"):
        assert read_owner(tmp_path / "run")["pid"] == os.getpid() and owner_lives(tmp_path / "run")
    assert read_owner(tmp_path / "run") is None
    assert not (tmp_path / "run").exists(), "a run that failed before it made anything leaves nothing"


def test_a_live_process_of_this_host_keeps_its_folder(tmp_path, process):
    started = liveness.process_start(process.pid)
    write_owner(tmp_path, age=10 * STALE, host=socket.gethostname(), pid=process.pid, started=started)
    with pytest.raises(UserError, match=rf"belongs to process {process.pid} on {socket.gethostname()} .* is running"):
        take(tmp_path)
    assert read_owner(tmp_path)["token"] == "theirs"


def test_a_dead_process_loses_it_and_so_does_one_whose_number_is_reused(tmp_path, process):
    write_owner(tmp_path, host=socket.gethostname(), pid=process.pid, started="1")
    assert read_owner(tmp_path)["token"] != take(tmp_path) is None or read_owner(tmp_path)["pid"] == os.getpid()
    (tmp_path / FILE_NAME).unlink()
    started = liveness.process_start(process.pid)
    process.kill()
    process.wait()
    write_owner(tmp_path, host=socket.gethostname(), pid=process.pid, started=started)
    assert read_owner(tmp_path)["token"] != take(tmp_path)
    assert read_owner(tmp_path)["pid"] == os.getpid()


def test_of_another_host_the_last_beat_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no squeue
    write_owner(tmp_path, age=STALE / 2)
    with pytest.raises(UserError, match=r"on elsewhere .* gave a sign of life 9\d s ago"):
        take(tmp_path)
    write_owner(tmp_path, age=2 * STALE)
    assert take(tmp_path) == read_owner(tmp_path)["token"]


@pytest.mark.parametrize(
    ("answer", "lives"),
    [
        ("echo RUNNING", True),
        ("echo PENDING", True),
        ("true", False),
        ("echo Invalid job id specified >&2; exit 1", False),
    ],
)
def test_of_a_slurm_job_elsewhere_squeue_decides(tmp_path, monkeypatch, answer, lives):
    fake_squeue(tmp_path, monkeypatch, answer)
    write_owner(tmp_path, age=0 if not lives else 10 * STALE, job="7")
    if lives:
        with pytest.raises(UserError, match=r"belongs to SLURM job 7, .* is (running|pending)"):
            take(tmp_path)
    else:
        assert take(tmp_path)


def test_where_squeue_cannot_say_the_last_beat_decides(tmp_path, monkeypatch):
    fake_squeue(tmp_path, monkeypatch, "echo unable to contact slurm controller >&2; exit 1")
    write_owner(tmp_path, job="7")
    with pytest.raises(UserError, match="sign of life"):
        take(tmp_path)


def test_a_requeued_job_takes_over_from_its_former_incarnation(tmp_path, monkeypatch):
    write_owner(tmp_path, job="7")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert take(tmp_path) == read_owner(tmp_path)["token"]


def test_a_former_incarnation_that_hangs_on_this_host_is_ended(tmp_path, monkeypatch, process):
    monkeypatch.setattr(liveness, "FORMER", 0.2)
    started = liveness.process_start(process.pid)
    write_owner(tmp_path, host=socket.gethostname(), pid=process.pid, started=started, job="7")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert take(tmp_path)
    assert process.wait(5) == -9


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_another_step_of_the_same_allocation_is_refused_and_leaves_the_first_alone(
    tmp_path, monkeypatch, process, host
):
    """A job that was not restarted has no former incarnation: whoever is there was started beside this one."""
    fake_squeue(tmp_path, monkeypatch, "echo RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    write_owner(tmp_path, host=host, pid=process.pid, started=liveness.process_start(process.pid), job="7")
    with pytest.raises(UserError, match="belongs to SLURM job 7, .* which (is running|gave a sign of life)"):
        take(tmp_path)
    assert process.poll() is None


def test_one_of_many_takers_gets_a_dead_owners_folder(tmp_path):
    """Threads stand for processes: each attempt has a token of its own, and only one file is made."""
    write_owner(tmp_path, age=2 * STALE)
    with ThreadPoolExecutor(8) as pool:
        tokens = [token for token in pool.map(lambda _: take(tmp_path), range(8)) if token]
    assert tokens == [read_owner(tmp_path)["token"]] and [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@contextmanager
def owning_process(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process that owns ``folder`` and beats ten times a second."""
    code = (
        "import sys, time; from pathlib import Path; from pretrain.run import liveness, ownership\n"
        "liveness.BEAT = 0.1\n"
        "with ownership.owned(Path(sys.argv[1])):\n"
        "    print('owning', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "owning\n"
        yield other


def test_a_replaced_owner_stops(tmp_path):
    with owning_process(tmp_path) as other:
        write_owner(tmp_path, job="7")
        assert other.wait(20) == 1
        assert "was taken over by SLURM job 7, process 1 on elsewhere" in other.stderr.read()
    assert read_owner(tmp_path)["token"] == "theirs"


def test_a_beat_shows_that_the_owner_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "BEAT", 0.05)
    with owned(tmp_path):
        os.utime(tmp_path / FILE_NAME, (0, 0))
        deadline = time.monotonic() + 10
        while liveness.heartbeat_age(tmp_path / FILE_NAME) > 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert liveness.heartbeat_age(tmp_path / FILE_NAME) < 5
        assert threading.active_count() >= 2


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize("group", [TORCHRUN, SRUN])
def test_only_the_main_process_of_a_group_owns(tmp_path, monkeypatch, group):
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    with owned(tmp_path):
        assert read_owner(tmp_path) is None


def test_the_decorator_finds_the_folder_however_it_is_given(tmp_path):
    @owning("work.folder")
    def work_in(number, work):
        return number, read_owner(work.folder)["pid"]

    class Work:
        folder = tmp_path

    assert work_in(3, Work) == work_in(number=3, work=Work) == (3, os.getpid())


def test_pretraining_refuses_the_folder_of_a_live_run_and_leaves_it_alone(tmp_path, process):
    started = liveness.process_start(process.pid)
    write_owner(tmp_path, host=socket.gethostname(), pid=process.pid, started=started)
    with pytest.raises(UserError, match="wait for it, end it, or use another folder"):
        pretrain(tiny_config(), tmp_path, resume=True, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_container_of_the_same_host_name_is_another_machine(tmp_path):
    """Its process numbers mean nothing here, so the last beat decides."""
    write_owner(tmp_path, host=socket.gethostname(), machine="another namespace", pid=2**22 + 1, started="1")
    with pytest.raises(UserError, match="gave a sign of life"):
        take(tmp_path)
    os.utime(tmp_path / FILE_NAME, (0, 0))
    assert take(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"host": 1}', '{"token": "x"}', "\x00\xff"])
def test_a_file_that_names_no_owner_is_one_line_at_once_and_removed_when_it_is_old(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content.encode("latin-1"))
    os.utime(path, (time.time() - 10,) * 2)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"names no owner .* written 1\d s ago; delete it if nothing runs"):
        take(tmp_path)
    assert time.monotonic() - begun < 1
    os.utime(path, (time.time() - 2 * STALE,) * 2)
    assert take(tmp_path)


def test_a_file_is_whole_from_its_first_moment(tmp_path, monkeypatch):
    """Whoever looks sees no file or a whole one: it gets its name when it has its content."""
    link, seen = os.link, []

    def watched(source, target):
        seen.append((Path(target).exists(), is_identity(json.loads(Path(source).read_text()))))
        link(source, target)

    monkeypatch.setattr(os, "link", watched)
    assert take(tmp_path) and seen == [(False, True)]


def test_where_there_are_no_links_it_is_made_all_the_same(tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    assert take(tmp_path) == read_owner(tmp_path)["token"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("lives", [True, False])
def test_a_beat_in_the_future_counts_if_another_follows(tmp_path, monkeypatch, lives):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(liveness, "BEAT", 0.2)
    write_owner(tmp_path, age=-86_400)
    path, ended = tmp_path / FILE_NAME, threading.Event()

    def beat():
        while lives and not ended.wait(0.05):
            os.utime(path, (time.time() + 86_400,) * 2)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        if lives:
            with pytest.raises(UserError, match="gave a sign of life 0 s ago"):
                take(tmp_path)
        else:
            assert take(tmp_path)
    finally:
        ended.set()
        thread.join()


def test_an_owner_that_lost_its_file_writes_nothing_more(tmp_path):
    with owned(tmp_path):
        check_owner(tmp_path)
        (tmp_path / FILE_NAME).unlink()
        with pytest.raises(UserError, match=r"has lost its \.owner\.json; .* nothing more is written"):
            check_owner(tmp_path)
        write_owner(tmp_path)
        with pytest.raises(UserError, match="was taken over by process 1 on elsewhere"):
            check_owner(tmp_path)


def test_a_process_that_the_owner_started_writes_for_it(tmp_path):
    """As the processes of a detector's training on one machine do."""
    program = "import sys; from pathlib import Path; from pretrain.run.ownership import check_owner; "
    command = [sys.executable, "-c", f"{program}check_owner(Path(sys.argv[1]))", str(tmp_path)]
    with owned(tmp_path):
        assert subprocess.run(command, capture_output=True).returncode == 0
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 1 and "nothing more is written" in other.stderr


def test_an_owner_whose_file_was_deleted_stops_at_its_next_beat(tmp_path):
    with owning_process(tmp_path) as other:
        (tmp_path / FILE_NAME).unlink()
        assert other.wait(20) == 1
        assert "has lost its .owner.json; stopping" in other.stderr.read()


RACER = """
import sys, time
from pathlib import Path
from pretrain.common.errors import UserError
from pretrain.run.ownership import owned
root = Path(sys.argv[1])
print("ready", flush=True)
for number in map(int, sys.stdin):
    try:
        with owned(root / str(number)):
            print("won", flush=True)
            sys.stdin.readline()  # holds it until both have tried
    except UserError as error:
        assert "belongs to process" in str(error), error
        print("lost", flush=True)
        sys.stdin.readline()
"""


def test_of_two_writers_in_100_races_one_wins_each(tmp_path):
    """Every other race is for the folder of an owner that died."""
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        assert [racer.stdout.readline() for racer in (one, other)] == ["ready\n"] * 2
        for number in range(100):
            if number % 2:
                (tmp_path / str(number)).mkdir()
                write_owner(tmp_path / str(number), host=socket.gethostname(), pid=2**22 + 1, started="1")
            for racer in (one, other):
                racer.stdin.write(f"{number}\n")
            assert sorted(racer.stdout.readline() for racer in (one, other)) == ["lost\n", "won\n"], number
            for racer in (one, other):
                racer.stdin.write("\n")
        for racer in (one, other):
            racer.stdin.close()
            assert racer.wait(30) == 0
    assert not [path.name for path in tmp_path.rglob("*") if path.is_file()], "no lock, no claim, nothing begun"
