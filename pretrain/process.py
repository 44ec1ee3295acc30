"""How a process on a CPU must have been started: with an allocator that keeps what is freed, and threads that sleep.

torch asks the C library for every tensor. By default glibc returns a large one to the system when it is freed, and a
training step then spends a fifth of its time on page faults, getting the same memory back (docs/performance.md). Kept
memory has to be reused, too: caches of small pieces pin what lies between them, and the heap grows with every tensor.
So both go together, large pieces on the heap and no caches of small ones. glibc reads this once, when a process starts.

On a GPU torch caches memory itself, and there the caches of small pieces matter: launching is what a CPU does for it.
"""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
NO_CACHES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
TUNABLES_SINCE = (2, 31)  # the last of these settings, mxfast
# Threads that wait sleep instead of spinning: where virtual cores share a real one, spinning takes the other's time.
FOR_CPU = {"GLIBC_TUNABLES": f"{KEPT_MEMORY}:{NO_CACHES}", "OMP_WAIT_POLICY": "PASSIVE"}
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, either under WSL: seen without importing torch


def restart_for_cpu() -> None:
    """Start this process again, same PID and arguments, with the variables that it lacks; once, before torch is there.

    Does nothing where there is a GPU, another C library, or where the environment already has them, whatever they say.
    """
    lacking = lacking_variables(os.environ, platform.libc_ver(), has_gpu())
    if lacking:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **lacking})


def lacking_variables(environment: Mapping[str, str], libc: tuple[str, str], gpu: bool) -> dict[str, str]:
    """Those of ``FOR_CPU`` to add to ``environment``. libc: its name and version."""
    name, version = libc
    if gpu or name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < TUNABLES_SINCE:
        return {}
    return {name: value for name, value in FOR_CPU.items() if name not in environment}


def has_gpu() -> bool:
    return any(Path(file).exists() for file in GPU_FILES)
