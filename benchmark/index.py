"""The index of a large data set: seconds to build it and to open it again, and memory, on a listing of empty files."""

import gc
import os
import tempfile
import time
from pathlib import Path

from benchmark.machine import machine
from pretrain.common.errors import UserError

FOLDERS = 1000
PER_NAME = "n{folder:08}_{number}.JPEG"


def measure_index(count: int, device: str) -> dict:
    """Make ``count`` empty files in ``FOLDERS`` folders, index them twice, and remove them.

    Bytes are of the process's resident memory, private and shared with other processes on this machine.
    """
    if count < 1:
        raise UserError(f"--index {count} is too small; expected a number from 1")
    from pretrain.data.images.index import SETTLED
    from pretrain.data.images.layout import images_at

    with tempfile.TemporaryDirectory(prefix="us3l-index-") as home:
        root = Path(home) / "images"
        make_listing(root, count)
        os.environ["US3L_CACHE"] = str(Path(home) / "cache")
        time.sleep(2 * SETTLED)  # what has just changed is not kept
        rows = []
        for what in ("built", "opened again"):
            gc.collect()
            before, started = resident(), time.perf_counter()
            images = images_at(root, "train")
            seconds = time.perf_counter() - started
            for index in range(0, len(images), 4097):  # touch what a loader touches
                images.name(index)
            rows.append(
                {"index": what, "seconds": seconds, "megabytes": (resident() - before) / 1e6, "images": len(images)}
            )
            del images
    return {"title": f"The index of {count:,} images in {FOLDERS} folders", "rows": rows, **machine(device)}


def make_listing(root: Path, count: int) -> None:
    """Empty files named as ImageNet's; links to one file, which cost a file system the least."""
    root.mkdir()
    one = root.parent / "empty.JPEG"
    made = 0
    for folder in range(FOLDERS):
        path = root / f"n{folder:08}"
        path.mkdir()
        while made * FOLDERS < count * (folder + 1) and made < count:
            if made % 50_000 == 0:  # file systems limit the names of one file
                one = root.parent / f"empty{made}.JPEG"
                one.touch()
            os.link(one, path / PER_NAME.format(folder=folder, number=made))
            made += 1


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
