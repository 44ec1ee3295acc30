"""A process on a CPU starts with memory that is kept and reused, once, and where a user has not said otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from pretrain.process import FOR_CPU, has_gpu, lacking_variables

GLIBC = ("glibc", "2.36")


def test_a_process_on_a_cpu_lacks_them_until_it_has_them():
    assert lacking_variables({"HOME": "/root"}, GLIBC, gpu=False) == FOR_CPU
    assert lacking_variables(FOR_CPU, GLIBC, gpu=False) == {}


@pytest.mark.parametrize("name", FOR_CPU)
def test_what_a_user_has_set_stays(name):
    lacking = lacking_variables({name: ""}, GLIBC, gpu=False)
    assert lacking.keys() == FOR_CPU.keys() - {name}


@pytest.mark.parametrize("libc", [("", ""), ("musl", "1.2.5"), ("glibc", "2.28"), ("glibc", "2.9")])
def test_other_c_libraries_are_left_alone(libc):
    assert lacking_variables({}, libc, gpu=False) == {}


def test_a_gpu_needs_the_caches_of_small_pieces():
    assert lacking_variables({}, GLIBC, gpu=True) == {}


@pytest.fixture
def bare_environment(monkeypatch):
    for name in FOR_CPU:
        monkeypatch.delenv(name, raising=False)
    if not lacking_variables({}, platform.libc_ver(), has_gpu()):
        pytest.skip("a GPU, or another C library than glibc")


START = """
import os, sys
before = os.getpid(), sys.argv[1:], sys.flags.dont_write_bytecode
from pretrain.process import FOR_CPU, restart_for_cpu
print("start", *before, flush=True)
restart_for_cpu()
assert all(os.environ[name] == value for name, value in FOR_CPU.items())
"""


def test_it_starts_again_once_as_the_same_process(repository, bare_environment):
    """The same PID, so that whoever waits for it or signals it still can; the same arguments and options."""
    command = [sys.executable, "-B", "-c", START, "--width", "0.5"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second and first.endswith("['--width', '0.5'] 1")


# Large tensors between small ones that stay: as activations lie between what a program remembers.
GROWTH = """
import resource, torch
torch.set_num_threads(1)
def used():
    counts = resource.getrusage(resource.RUSAGE_SELF)
    return counts.ru_maxrss / 1024, counts.ru_minflt
stays = []
for round in range(30):
    if round == 10:
        megabytes, faults = used()
    large = [torch.ones(10_000_000) for _ in range(4)]
    stays += [torch.ones(8) for _ in range(50)]
    del large
later = used()
print(later[0] - megabytes, later[1] - faults)
"""


def growth(environment: dict[str, str]) -> tuple[float, float]:
    """MB and page faults of 20 rounds with 160 MB each, after 10 that warm up."""
    command = [sys.executable, "-c", GROWTH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    megabytes, faults = map(float, done.stdout.split())
    return megabytes, faults


def test_memory_is_kept_and_used_again(bare_environment):
    default_megabytes, default_faults = growth(dict(os.environ))
    megabytes, faults = growth({**os.environ, **FOR_CPU})
    assert default_megabytes < 50 and megabytes < 50, "the heap stops growing, as it does by default"
    assert faults < default_faults / 10, "what is freed does not have to be mapped again"
