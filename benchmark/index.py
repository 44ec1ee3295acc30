"""The index of a large data set: seconds to build it and to open it again, and memory, on listings of empty images."""

import multiprocessing
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmark.machine import machine
from pretrain.common.errors import UserError
from pretrain.common.memory import process_memory

FOLDERS = 1000


def measure_index(count: int, device: str, layouts: list[str] | None = None) -> dict:
    """Make a listing of ``count`` images in each of ``layouts``, index it twice, and remove it.

    layouts: of ``LAYOUTS``; by default all that can be read here. Each index is made in a process of its own. Bytes are
    what it adds to the process's resident memory: in the end, private or shared with other processes, and at its peak.
    """
    if count < 1:
        raise UserError(f"--index {count} is too small; expected a number from 1")
    from pretrain.data.images.index import SETTLED

    layouts = layouts or [name for name in LAYOUTS if name != "parquet" or find_spec("pyarrow")]
    rows = []
    for layout in layouts:
        with tempfile.TemporaryDirectory(prefix="us3l-index-") as home, of_its_own() as run:
            root = LAYOUTS[layout](Path(home), count)
            time.sleep(2 * SETTLED)  # what has just changed is not kept
            for what in ("built", "opened again"):
                rows.append({"layout": layout, "index": what, **run(opened, root, Path(home) / "cache")})
    return {"title": f"The index of {count:,} images of {FOLDERS} classes", "rows": rows, **machine(device)}


@contextmanager
def of_its_own() -> Iterator[Callable]:
    """``run(function, *args)`` in a fresh process each time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


def opened(root: Path, cache: Path) -> dict:
    """Seconds and megabytes of opening the training images at ``root``."""
    from pretrain.data.images.layout import images_at

    os.environ["US3L_CACHE"] = str(cache)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, started = process_memory("VmRSS"), time.perf_counter()
    images = images_at(root, "train")
    seconds = time.perf_counter() - started
    for index in range(0, len(images), 4097):  # touch what a loader touches
        images.name(index)
    after, peak = process_memory("VmRSS") - before, process_memory("VmHWM") - before
    return {"seconds": seconds, "megabytes": after / 1e6, "peak_megabytes": peak / 1e6, "images": len(images)}


def names(count: int) -> Iterator[tuple[int, list[str]]]:
    """For each class its images' names, as ImageNet's."""
    made = 0
    for folder in range(FOLDERS):
        end = min(count, -(-count * (folder + 1) // FOLDERS))
        yield folder, [f"n{folder:08}_{number}.JPEG" for number in range(made, end)]
        made = end


def in_folders(home: Path, count: int) -> Path:
    """home/images/<class>/<name>"""
    return _files(home, count, lambda folder: f"n{folder:08}/")


def flat(home: Path, count: int) -> Path:
    """home/images/<name>"""
    return _files(home, count, lambda folder: "")


def listed(home: Path, count: int) -> Path:
    """home/images.csv with labels, beside home/images/<class>/<name>"""
    in_folders(home, count)
    with open(home / "images.csv", "w") as file:
        file.write("path,label\n")
        for folder, files in names(count):
            file.writelines(f"images/n{folder:08}/{name},n{folder:08}\n" for name in files)
    return home / "images.csv"


def _files(home: Path, count: int, place: Callable[[int], str]) -> Path:
    """Empty files; links to one file, which cost a file system the least."""
    root, one, made = home / "images", home / "empty", 0
    for folder, files in names(count):
        (root / place(folder)).mkdir(parents=True, exist_ok=True)
        for name in files:
            if made % 50_000 == 0:  # file systems limit the names of one file
                one = home / f"empty{made}"
                one.touch()
            os.link(one, root / place(folder) / name)
            made += 1
    return root


def tar_shards(home: Path, count: int) -> Path:
    """WebDataset's samples of an image and a .cls; each shard has images of every class."""
    (home / "shards").mkdir()
    samples = [(folder, name.removesuffix(".JPEG")) for folder, files in names(count) for name in files]
    for shard in range(FOLDERS):
        with open(home / "shards" / f"{shard:04}.tar", "wb") as file:
            for folder, key in samples[shard::FOLDERS]:
                file.write(tarfile.TarInfo(f"{key}.JPEG").tobuf())
                label = tarfile.TarInfo(f"{key}.cls")
                label.size = len(str(folder))
                file.write(label.tobuf() + str(folder).encode().ljust(tarfile.BLOCKSIZE, b"\0"))
            file.write(bytes(2 * tarfile.BLOCKSIZE))
    return home / "shards"


def parquet(home: Path, count: int) -> Path:
    """Ten files of (bytes, path) and a label by number; each has images of every class."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (home / "data").mkdir()
    samples = [(folder, name) for folder, files in names(count) for name in files]
    for shard in range(10):
        part = samples[shard::10]
        table = {"image": [{"bytes": b"", "path": name} for _, name in part], "label": [folder for folder, _ in part]}
        pq.write_table(pa.table(table), home / "data" / f"train-{shard:05}-of-00010.parquet", row_group_size=1000)
    return home / "data"


LAYOUTS = {"folders": in_folders, "flat": flat, "list": listed, "tar": tar_shards, "parquet": parquet}
