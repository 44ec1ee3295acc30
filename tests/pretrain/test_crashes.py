"""SIGKILL at moments that nobody chose: the same command again ends with the bytes of an undisturbed run.

``US3L_CRASHES=30`` kills as often in the test of random moments; each run is killed until it gets through.
"""

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from pretrain.run.checkpoint import newest_checkpoint
from pretrain.train import pretrain
from tests.crashes import CRASHES, crash, files
from tests.pretrain.helpers import tiny_config
from tests.pretrain.test_train import assert_same_bytes

SETTINGS = {"iterations": 16, "checkpoint_interval": 3, "log_interval": 2, "checkpoint_minutes": 1e-3}


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
    assert not [name for name in files(folder) if name.startswith(".")]
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


def test_a_run_that_is_killed_while_it_writes(config, tmp_path):
    """Just before a step of writing a checkpoint, its checksum, the log, the lock or the universal checkpoint."""

    def command(name):
        return [config, "--work-dir", tmp_path / name, "--resume", "--device", "cpu"]

    crash("tools.pretrain", command("whole"), command("killed"))
    check(tmp_path / "whole", tmp_path / "killed")


def test_a_newest_checkpoint_that_a_crash_damaged_costs_its_iterations_alone(config, whole, tmp_path):
    subprocess.run(["cp", "-a", f"{whole}/.", tmp_path], check=True)
    newest = newest_checkpoint(tmp_path / "checkpoints")
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged or unfinished"):
        pretrain(tiny_config(training=SETTINGS), tmp_path, True, "cpu")
    check(whole, tmp_path)
