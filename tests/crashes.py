"""SIGKILL in the middle of a command, at moments of its writing: the same command again must end as if nothing was.

Every file that counts reaches its place by a rename or a link, or is opened to append a line; some are removed. The
moments just before these are where a kill can do harm; between them nothing on the disk changes but temporary files.

A program of its own (``python -m tests.crashes``) loads the libraries once and forks: an undisturbed command first,
which counts its moments, then commands that die at some of them, then one that gets through.
"""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGES = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR
CRASHES = int(os.environ.get("US3L_CRASHES", 1))


def crash(tool: str, whole: list, killed: list, loaded: tuple[str, ...] = (), kills: int = CRASHES) -> None:
    """Run ``tool``, a module with a ``main``, with the arguments ``whole``, and ``kills`` times killed with ``killed``.

    The two lists differ in where they write. loaded: modules to import before anything forks, to save time.
    """
    task = {"tool": tool, "whole": list(map(str, whole)), "killed": list(map(str, killed)), "kills": kills}
    command = [sys.executable, "-m", "tests.crashes", json.dumps({**task, "loaded": loaded})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout[-3000:])


def files(folder: Path, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Name below ``folder`` -> content, but for names that end so; nothing temporary may be among them."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in found if Path(name).name.startswith(".partial")], "a temporary file was left"
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith(but)}


def results(folder: Path) -> dict[str, dict]:
    """Every result.json below ``folder`` without the time that it took."""
    found = {
        str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))
    }
    return {name: {**record, "seconds": None} for name, record in found.items()}


def program(task: dict) -> None:
    for name in ("torch", *task["loaded"]):
        importlib.import_module(name)
    main = importlib.import_module(task["tool"]).main
    code, moments = forked(lambda: main(task["whole"]), None)
    assert code == 0 and moments, "the undisturbed command failed"
    chance = random.Random(repr((task["tool"], moments)))
    chosen = [chance.randrange(1, moments + 1) for _ in range(task["kills"])]
    for moment in chosen:
        code, _ = forked(lambda: main(task["killed"]), moment)
        assert code in (-signal.SIGKILL, 0), f"killed at {moment} of {moments}"
    assert forked(lambda: main(task["killed"]), None)[0] == 0, f"killed at {chosen} of {moments}"
    print(f"killed at {chosen} of {moments} moments")


def forked(function: Callable[[], None], moment: int | None) -> tuple[int, int]:
    """(exit code, moments that were counted) of ``function`` in a child that dies by SIGKILL at ``moment``."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        count_moments(moment, write)
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        moments = len(pipe.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), moments


def count_moments(moment: int | None, pipe: int) -> None:
    """From here on each moment of this process is a byte in ``pipe``; at the ``moment``-th it dies."""
    count, owner = 0, os.getpid()

    def hook(event: str, details: tuple) -> None:
        nonlocal count
        if os.getpid() != owner or not (event in CHANGES or (event == "open" and details[2] & WRITING)):
            return
        count += 1
        os.write(pipe, b".")
        if count == moment:
            os.kill(owner, signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    program(json.loads(sys.argv[1]))
