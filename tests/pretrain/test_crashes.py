"""SIGKILL at moments that nobody chose: the same command again ends with the bytes of an undisturbed run.

``US3L_CRASHES=30`` kills as often in the test of random moments; each run is killed until it gets through.
"""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pretrain.run.checkpoint import newest_checkpoint
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config
from tests.pretrain.test_train import assert_same_bytes

CRASHES = int(os.environ.get("US3L_CRASHES", 1))
SETTINGS = {"iterations": 16, "checkpoint_interval": 3, "log_interval": 2, "checkpoint_minutes": 1e-3}

# Dies by SIGKILL when the n-th file is about to be brought to the disk, renamed, linked or removed, or a line appended.
DYING = """
import os, signal, sys
from pathlib import Path
n, config, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
count = 0
def dying(function):
    def counted(*args, **kwargs):
        global count
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return counted
for name in ("fsync", "replace", "link", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
import pretrain.run.metrics as metrics
metrics.append_line = dying(metrics.append_line)
from pretrain.config import load_config
from pretrain.train import pretrain
pretrain(load_config(config, []), folder, True, "cpu")
print("moments", count)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    values = dataclasses.asdict(tiny_config(training=SETTINGS))
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    pretrain(tiny_config(training=SETTINGS), folder, False, "cpu")
    return folder


def check(whole, folder) -> None:
    """The same bytes, every line of the log once and in order, and nothing temporary."""
    assert_same_bytes(whole, folder)
    found = [json.loads(line)["iteration"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert found == sorted(set(found)) and found[-1] == SETTINGS["iterations"]
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert len(list((folder / "checkpoints").iterdir())) == 4


@pytest.mark.parametrize("seed", range(CRASHES))
def test_a_run_that_is_killed_at_random_moments(repository, config, whole, tmp_path, seed):
    """From the start of the process to its end, each time a little later."""
    chance, command = random.Random(seed), [sys.executable, repository / "tools/pretrain.py", config]
    for _ in range(2):
        with subprocess.Popen(
            [*command, "--work-dir", tmp_path, "--resume", "--device", "cpu"], stdout=subprocess.DEVNULL
        ) as process:
            log = tmp_path / "metrics.jsonl"
            lines = len(log.read_text().splitlines()) if log.exists() else 0
            wanted = lines + chance.randrange(1, 5)
            while process.poll() is None and not (log.exists() and len(log.read_bytes().splitlines()) >= wanted):
                time.sleep(0.005)
            time.sleep(chance.random() / 10)
            process.kill()
        assert process.returncode in (-signal.SIGKILL, 0)
    pretrain(tiny_config(training=SETTINGS), tmp_path, True, "cpu")
    check(whole, tmp_path)


@pytest.mark.parametrize("seed", range(CRASHES))
def test_a_run_that_is_killed_while_it_writes(repository, config, whole, tmp_path, seed):
    """Just before a step of writing a checkpoint, its checksum, the log, the lock or the universal checkpoint."""
    chance = random.Random(1000 + seed)
    for _ in range(2):
        moment = chance.randrange(1, 40)
        command = [sys.executable, "-c", DYING, str(moment), config, tmp_path]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    pretrain(tiny_config(training=SETTINGS), tmp_path, True, "cpu")
    check(whole, tmp_path)


def test_a_newest_checkpoint_that_a_crash_damaged_costs_its_iterations_alone(config, whole, tmp_path):
    subprocess.run(["cp", "-a", f"{whole}/.", tmp_path], check=True)
    newest = newest_checkpoint(tmp_path / "checkpoints")
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged or unfinished"):
        pretrain(tiny_config(training=SETTINGS), tmp_path, True, "cpu")
    check(whole, tmp_path)
