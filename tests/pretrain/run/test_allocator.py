"""A process on a CPU starts with memory that is kept and used again, once, and where a user has not said otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from pretrain.run.allocator import FOR_CPU, RESTARTED, has_gpu, lacking_variables, reads_tunables

TOOLS = ("benchmark", "claims", "demo", "pretrain", "transfer")


def test_a_process_on_a_cpu_lacks_them_until_it_has_them():
    assert lacking_variables({"HOME": "/root"}) == FOR_CPU
    assert lacking_variables(FOR_CPU) == {}


@pytest.mark.parametrize("name", FOR_CPU)
def test_what_a_user_has_set_stays(name):
    assert lacking_variables({name: ""}).keys() == FOR_CPU.keys() - {name}


@pytest.mark.parametrize(
    ("library", "version", "expected"),
    [("", "", False), ("musl", "1.2.5", False), ("glibc", "2.28", False), ("glibc", "2.9", False),
     ("glibc", "2.31", True), ("glibc", "2.41", True), ("glibc", "3.0", True)],
)  # fmt: skip
def test_only_a_glibc_that_knows_the_settings_is_worth_a_restart(library, version, expected):
    assert reads_tunables(library, version) is expected


@pytest.fixture
def bare_environment() -> dict[str, str]:
    """Without the variables, where a process would restart."""
    if has_gpu() or not reads_tunables(*platform.libc_ver()):
        pytest.skip("a GPU, or another C library than glibc")
    return {name: value for name, value in os.environ.items() if name not in (*FOR_CPU, RESTARTED)}


START = """
import os, sys
from pretrain.run.allocator import FOR_CPU, restart_for_cpu
print(os.getpid(), sys.argv[1:], sys.flags.dont_write_bytecode, flush=True)
{change}
restart_for_cpu()
print({{name: os.environ[name] for name in FOR_CPU}})
"""


def started(repository, environment: dict[str, str], change: str = "") -> list[str]:
    """What is printed before every start, and at the end the variables."""
    command = [sys.executable, "-B", "-c", START.format(change=change), "--width", "0.5"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_starts_again_once_as_the_same_process(repository, bare_environment):
    """The same PID, so that whoever waits for it or signals it still can; the same arguments and options."""
    first, second, variables = started(repository, bare_environment)
    assert first == second and first.endswith("['--width', '0.5'] 1")
    assert variables == str(FOR_CPU)


@pytest.mark.parametrize(
    ("change", "starts"),
    [("os.environ.pop('GLIBC_TUNABLES', None)", 2), ("sys.executable = '/no/such/python'", 1)],
    ids=["the variable does not survive", "there is no such interpreter"],
)
def test_it_goes_on_where_a_restart_does_not_help(repository, bare_environment, change, starts):
    assert len(started(repository, bare_environment, change)) == starts + 1


def test_a_users_own_settings_are_no_reason_to_restart(repository, bare_environment):
    (_, variables) = started(repository, bare_environment | {"GLIBC_TUNABLES": ""})
    assert variables == str(FOR_CPU | {"GLIBC_TUNABLES": ""})


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_starts_with_them_before_it_imports_torch(repository, bare_environment, tool, tmp_path):
    """sitecustomize is imported at every start, and says of which environment."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        "atexit.register(lambda: print('END', os.environ.get('GLIBC_TUNABLES')))\n"
        "execv = os.execv\n"
        "def watched(*a):\n    print('torch' in sys.modules, flush=True)\n    execv(*a)\n"
        "os.execv = watched\n"
    )
    command = [sys.executable, repository / f"tools/{tool}.py", "--help"]
    environment = bare_environment | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False\n")
    assert done.stdout.endswith(f"END {FOR_CPU['GLIBC_TUNABLES']}\n")


# Large tensors between small ones that stay: as activations lie between what a program remembers.
GROWTH = """
import resource, torch
torch.set_num_threads(1)
def used():
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return peak / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
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
    default_megabytes, default_faults = growth(bare_environment)
    megabytes, faults = growth(bare_environment | FOR_CPU)
    assert default_megabytes < 50 and megabytes < 50, "the heap stops growing, as it does by default"
    assert faults < default_faults / 10, "what is freed does not have to be mapped again"
