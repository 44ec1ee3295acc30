"""The largest memory of a process that does nothing but run one file: ``python -m transfer.devices.memory``."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from pretrain.common.memory import STATUS, process_memory
from pretrain.common.repository import ROOT

SECONDS = 600


def peak_memory(runtime: str, path: Path, shape: tuple[int, ...], threads: int) -> int | None:
    """Bytes at the peak, Python, the runtime and its own libraries included; None where the system does not
    tell, or the process did not end well.

    shape: of the images, [B, C, S, S]. The file is loaded and run three times in a fresh process.
    """
    if not STATUS.exists():
        return None
    command = [sys.executable, "-m", "transfer.devices.memory", runtime, str(path), str(threads), *map(str, shape)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("peak ")]
    return int(lines[-1].split()[1]) if lines else None


def main(runtime: str, path: str, threads: str, *shape: str) -> None:
    """Load the file, run it, print ``peak BYTES``."""
    import numpy as np

    run = import_module(f"transfer.runtimes.{runtime}").load(Path(path), int(threads))
    images = np.zeros(tuple(map(int, shape)), np.float32)
    for _ in range(3):
        run(images)
    print(f"\npeak {process_memory('VmHWM')}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
