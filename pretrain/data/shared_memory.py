"""The shared memory through which loader workers hand over batches: what they take of it, and whether it is there.

A worker that finds it full ends the run by a bus error hours after its start, without a word of what was full.
"""

import shutil
import warnings
from pathlib import Path

PLACE = Path("/dev/shm")  # of Linux; containers often have 64 MB
PREFETCH = 2  # batches that each worker keeps ready, as torch has it
MB = 1e6


def needed(batch_bytes: int, workers: int, processes: int) -> int:
    """Bytes in shared memory at most: the batches that are ready, and the one that each process learns from."""
    return batch_bytes * (PREFETCH * workers + 1) * processes if workers else 0


def check_shared_memory(batch_bytes: int, workers: int, processes: int) -> str:
    """In a line what ``needed`` is and what is free; a warning with the way out where it does not suffice.

    batch_bytes: of a process. workers: of each of so many ``processes`` of this machine.
    """
    need = needed(batch_bytes, workers, processes)
    if not need or not PLACE.is_dir():
        return ""
    free = shutil.disk_usage(PLACE).free
    said = (
        f"{processes * workers} loader workers keep up to {need / MB:,.1f} MB in {PLACE}, {free / MB:,.1f} MB are free"
    )
    if need > free:
        fitting = (free // (batch_bytes * processes) - 1) // PREFETCH
        fewer = f"data.workers={fitting}" if fitting > 0 else "data.workers=0"
        warnings.warn(
            f"{said}: a run may end in a bus error; expected {fewer}, a smaller training.batch_size, or more of it "
            "(docker run --shm-size=8g or --ipc=host)", stacklevel=2,
        )  # fmt: skip
    return said
