"""How a process on a CPU must have been started: with an allocator that keeps what is freed, and threads that sleep.

torch asks the C library for every tensor. By default glibc returns a large one to the system when it is freed, and a
training step then loses a tenth of its time or more to page faults, getting the same memory back
(docs/performance.md). Kept memory has to be used again, too: glibc's caches of small pieces keep their neighbours from
merging, and the heap grows without bound. So both go together, large pieces on the heap and no caches of small ones.
glibc reads this once, when a process starts.

On a GPU torch caches memory itself, and there the caches of small pieces matter: launching is what a CPU does for it.
"""

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

KEPT_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
NO_CACHES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
TUNABLES_SINCE = (2, 31)  # the last of these settings, mxfast
# Threads that wait sleep instead of spinning: where virtual cores share a real one, spinning takes the other's time.
FOR_CPU = {"GLIBC_TUNABLES": f"{KEPT_MEMORY}:{NO_CACHES}", "OMP_WAIT_POLICY": "PASSIVE"}
RESTARTED = "US3L_RESTARTED"  # the PID of a process that was: once is enough, whatever became of its environment
GPU_FILES = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, either under WSL


def restart_for_cpu() -> None:
    """Start this process again, same PID and arguments, with kept memory; once, and before torch is imported.

    Does nothing where there is a GPU. Does not restart with another C library, a glibc before 2.31, or where the
    environment has ``GLIBC_TUNABLES`` already, whatever it says: set it to nothing for a debugger, whose breakpoints a
    restart would lose.
    """
    if has_gpu():
        return
    lacking = lacking_variables(os.environ)
    os.environ |= lacking
    if "GLIBC_TUNABLES" in lacking and reads_tunables(*platform.libc_ver()):
        restart()


def restart() -> None:
    """The same program in this process, once."""
    if os.environ.get(RESTARTED) != str(os.getpid()):
        os.environ[RESTARTED] = str(os.getpid())
        with suppress(OSError):  # where it cannot, it goes on as it is
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def lacking_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of ``FOR_CPU`` that ``environment`` does not set."""
    return {name: value for name, value in FOR_CPU.items() if name not in environment}


def reads_tunables(library: str, version: str) -> bool:
    """Whether a C library, as ``platform.libc_ver`` calls it, knows these settings."""
    return library == "glibc" and tuple(int(part) for part in version.split(".")[:2]) >= TUNABLES_SINCE


def has_gpu() -> bool:
    """Whether the machine has a GPU, seen without importing torch."""
    return any(Path(file).exists() for file in GPU_FILES)
